// Reads a shop and applies the rules until nothing disagrees, or what does must be settled by now.
import { setTimeout as sleep } from 'node:timers/promises'
import type { Shop } from '../platform/start/shop.ts'
import { readShop, type Addresses } from './read-shop.ts'
import { reconcile, type Finding } from './rules.ts'
import type { ShopState } from './shop-state.ts'

export type Audit = {
  findings: Finding[]
  /** How many of each were read. */
  counts: { orders: number; payments: number; reservations: number; skus: number; charges: number }
  /** Orders by status. */
  orders: Record<string, number>
  reads: number
}

const pauseMs = 2_000

/** A local shop's addresses, as administrator. */
export function addressesOf({ urls, ports, secrets }: Pick<Shop, 'urls' | 'ports' | 'secrets'>): Addresses {
  return {
    mysqlUrl: urls.mysqlUrl,
    mongodbUri: urls.mongodbUri,
    provider: {
      url: `http://127.0.0.1:${ports.paymentSandbox}`,
      apiKey: secrets.services.payments.named['provider-api-key'] ?? '',
    },
  }
}

/**
 * Audits a shop. What is on its way to be settled is not a disagreement yet: it is read again
 * until nothing is found, or for `settleMs`, and what the last two reads found counts.
 * @param note told what happens
 * @throws Error when something cannot be read
 */
export async function audit(
  addresses: Addresses,
  { settleMs, note = () => {} }: { settleMs: number; note?: (text: string) => void },
): Promise<Audit> {
  const giveUpAt = Date.now() + settleMs
  let before: Finding[] | undefined
  for (let reads = 1; ; reads += 1) {
    const state = await readShop(addresses, (rows) => {
      if (rows % 20_000 === 0) note(`${rows} rows read`)
    })
    const found = reconcile(state, new Date())
    const lasting = found.filter((one) => before?.some(({ kind, what }) => kind === one.kind && what === one.what))
    if (found.length === 0 || (before !== undefined && Date.now() >= giveUpAt))
      return { findings: lasting, ...summarise(state), reads }
    note(`${found.length} to be settled; reading again`)
    before = found
    await sleep(pauseMs)
  }
}

function summarise({ orders, payments, reservations, stock, charges }: ShopState): Pick<Audit, 'counts' | 'orders'> {
  const statuses = Object.entries(Object.groupBy(orders, ({ status }) => status))
  return {
    counts: {
      orders: orders.length,
      payments: payments.length,
      reservations: reservations.length,
      skus: stock.length,
      charges: charges.length,
    },
    orders: Object.fromEntries(statuses.map(([status, all]) => [status, all.length])),
  }
}
