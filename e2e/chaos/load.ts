// Shoppers who order all sorts of things while the shop breaks around them. They do as a client is
// told to: what was not answered, or with 503, is sent again with the same Idempotency-Key.
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { random } from '../../platform/random.ts'
import type { Answer, ShopApi } from '../../platform/testing/shop-api.ts'

export type Asked = { lines: { sku: string; quantity: number }[]; method: string }

export type LoadResult = {
  /** Orders that were answered with 202, and what was asked for. */
  accepted: Map<string, Asked>
  /** Requests that had no final answer when the load ended. */
  unanswered: number
  /** Answers that no order should get, by status and code. */
  refused: Record<string, number>
  cancels: Record<string, number>
  refunds: Record<string, number>
  /** Tries that ended without an answer or with 503. */
  retries: number
}

export const shopperCount = 8

/** How often each is asked for, in 20. */
const methods: [string, number][] = [
  ['pm_card_visa', 12],
  ['pm_card_chargeDeclined', 2],
  ['pm_card_chargeDeclinedInsufficientFunds', 1],
  ['pm_sandbox_lostAnswer', 2],
  ['pm_sandbox_error', 2],
  ['pm_sandbox_slow', 1],
]

/**
 * Orders until `signal` says to end, and then for as long as the requests under way take, at most
 * `patienceMs`. A fifth of the orders is cancelled soon after, a tenth refunded a while later, in
 * full or in part, by an admin.
 */
export async function goShopping({
  api,
  tokens,
  adminToken,
  skus,
  hotSku,
  seed,
  signal,
  patienceMs,
  onAccepted,
}: {
  api: ShopApi
  /** Of the shoppers: one each at least. */
  tokens: string[]
  adminToken: () => Promise<string>
  skus: string[]
  hotSku: string
  seed: number
  signal: AbortSignal
  patienceMs: number
  onAccepted: () => void
}): Promise<LoadResult> {
  const result: LoadResult = {
    accepted: new Map(),
    unanswered: 0,
    refused: {},
    cancels: {},
    refunds: {},
    retries: 0,
  }
  let giveUpAt = Number.POSITIVE_INFINITY
  signal.addEventListener('abort', () => (giveUpAt = performance.now() + patienceMs), { once: true })
  const count = (counts: Record<string, number>, { status, body }: Answer) => {
    const code = /"code":"(\w+)"/.exec(body)?.[1]
    const name = code === undefined ? String(status) : `${status} ${code}`
    counts[name] = (counts[name] ?? 0) + 1
  }

  /** Repeats until there is a final answer; undefined when there was none in time. */
  async function insist(send: () => Promise<Answer>): Promise<Answer | undefined> {
    while (performance.now() < giveUpAt) {
      const answer = await send().catch(() => undefined)
      // A sidecar that comes back may answer 504 or 500 once; the key makes asking again harmless.
      const isFinal = answer !== undefined && answer.status < 500 && answer.status !== 429
      if (isFinal && !answer.body.includes('"request_in_progress"')) return answer
      result.retries += 1
      await sleep(Math.min(2_000, answer?.retryAfterMs || 300))
    }
    return undefined
  }

  async function cancel(orderId: string, token: string): Promise<void> {
    const answer = await insist(() => api.send('POST', `/v1/orders/${orderId}/cancel`, { token }))
    if (answer) count(result.cancels, answer)
  }

  async function refund(orderId: string, key: string, amount: number | undefined): Promise<void> {
    const token = await adminToken()
    const body = amount === undefined ? {} : { amount: { amount, currency: 'USD' } }
    const headers = { 'idempotency-key': key }
    const answer = await insist(() => api.send('POST', `/v1/orders/${orderId}/refunds`, { token, headers, body }))
    if (answer) count(result.refunds, answer)
  }

  async function shopper(number: number): Promise<void> {
    const next = random(seed + number)
    const below = (n: number) => Math.floor(next() * n)
    const token = tokens[number]!
    while (!signal.aborted) {
      const asked: Asked = { lines: chooseLines(below, skus, hotSku), method: chooseMethod(below) }
      const headers = { 'idempotency-key': randomUUID() }
      const body = { lines: asked.lines, payment: { method: asked.method } }
      const chance = next()
      const answer = await insist(() => api.send('POST', '/v1/orders', { token, headers, body }))
      if (answer === undefined) result.unanswered += 1
      else if (answer.status !== 202) count(result.refused, answer)
      else {
        const { id } = JSON.parse(answer.body) as { id: string }
        result.accepted.set(id, asked)
        onAccepted()
        if (chance < 0.2) {
          await sleep(below(400))
          await cancel(id, token)
        } else if (chance < 0.3) {
          await sleep(500 + below(3_000))
          // In part, and then all that is left, both at once: each must count exactly once.
          await Promise.all([refund(id, randomUUID(), 100), refund(id, randomUUID(), undefined)])
        }
      }
      await sleep(below(300))
    }
  }

  await Promise.all(Array.from({ length: shopperCount }, (_, number) => shopper(number)))
  return result
}

/** One line mostly; a quarter has many, a quarter is for the SKU that all want. */
function chooseLines(below: (n: number) => number, skus: string[], hotSku: string): Asked['lines'] {
  const kind = below(4)
  if (kind === 0) return [{ sku: hotSku, quantity: 1 }]
  const size = kind === 1 ? 2 + below(8) : 1
  const chosen = new Set<string>()
  while (chosen.size < Math.min(size, skus.length)) chosen.add(skus[below(skus.length)]!)
  return [...chosen].map((sku) => ({ sku, quantity: 1 + below(3) }))
}

function chooseMethod(below: (n: number) => number): string {
  let left = below(20)
  for (const [method, share] of methods) {
    if (left < share) return method
    left -= share
  }
  throw new Error('the shares add up to 20')
}
