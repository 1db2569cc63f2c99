import { consume } from '#lib/consumer.ts'
import { parseEnv } from '#lib/config.ts'
import { implement } from '#lib/grpc-server.ts'
import { createKeyRanges } from '#lib/key-ranges.ts'
import { runService } from '#lib/run-service.ts'
import { OrdersServiceService } from '#protos/shop/orders/v1/orders.ts'
import { createBusy } from './busy.ts'
import { createCatalogClient } from './catalog-client.ts'
import { settings } from './config.ts'
import { createEventHandlers } from './events.ts'
import { createOrdersHandlers } from './grpc.ts'
import { createOrderStore } from './order-store.ts'
import { startSweeper } from './sweeper.ts'
import { createUsersClient } from './users-client.ts'

await runService('orders', ({ dapr, log, onClose }) => {
  const { STOCK_TIMEOUT_S, PAYMENT_TIMEOUT_S, ORDERS_MAX_WAIT_MS } = parseEnv(settings)
  const timeouts = { stockMs: STOCK_TIMEOUT_S * 1_000, paymentMs: PAYMENT_TIMEOUT_S * 1_000 }
  const now = () => new Date()
  const ranges = createKeyRanges({ dapr, binding: 'orders-ranges', appId: 'orders' })
  const store = createOrderStore({ state: dapr.state('orders-store'), ranges, now, timeouts })
  const busy = createBusy({ ranges, now, stockTimeoutMs: timeouts.stockMs, maxWaitMs: ORDERS_MAX_WAIT_MS })
  const users = createUsersClient({ dapr })
  const catalog = createCatalogClient({ dapr })
  onClose('sweeper', startSweeper({ store, ranges, log }))
  return [
    implement(OrdersServiceService, createOrdersHandlers({ store, users, catalog, busy, timeouts, now })),
    consume({ name: 'orders', log, batches: store.batches }, createEventHandlers({ store, users })),
  ]
})
