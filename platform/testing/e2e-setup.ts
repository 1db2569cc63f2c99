// The whole shop for e2e/, beside any shop that runs: its own ports, data and secrets. For the tests:
//   SHOP_API     http://127.0.0.1:<port>, the gateway
//   SHOP_JAEGER  http://127.0.0.1:<port>, Jaeger's query API
//   SHOP_INSTANCE  its name, for attachShop() of ../shop.ts: ports, secrets, and each process to kill, stop and start
import { startShop } from '../shop.ts'

export default async function setup(): Promise<(() => Promise<void>) | undefined> {
  const shop = await startShop({ instance: 'e2e', portBase: 'free' })
  process.env['SHOP_API'] = `http://127.0.0.1:${shop.ports.api}`
  process.env['SHOP_JAEGER'] = `http://127.0.0.1:${shop.ports.jaegerQuery}`
  process.env['SHOP_INSTANCE'] = shop.instance
  return shop.reused ? undefined : shop.stop
}
