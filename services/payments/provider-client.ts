import type { Dapr } from '#lib/dapr.ts'
import type { CallResult, Task } from './payment.ts'
import {
  isBreaker,
  readCharge,
  readCharges,
  readChargesFound,
  readRefund,
  readRefundsFound,
  type Answer,
} from './provider-answers.ts'

/** The HTTPEndpoint resource. The sidecar adds the credentials, so this service has none. */
const endpoint = 'payment-provider'
/**
 * A charge may wait for a bank. A time-out shorter than the provider needs would repeat for ever.
 */
const sendTimeoutMs = 10_000
const askTimeoutMs = 5_000
/** How long `perform` takes at most. */
export const performMs = sendTimeoutMs + askTimeoutMs

export type ProviderClient = ReturnType<typeof createProviderClient>
/** `answer`: the row of provider-answers.ts. */
export type Performed = CallResult & { answer: string; status: number }

/**
 * Creates the client of the payment provider, an HTTP API modelled on Stripe's. It never throws for
 * what the provider or the sidecar does: that is `later`.
 */
export function createProviderClient({ dapr }: { dapr: Pick<Dapr, 'http'> }) {
  async function call(path: string, init: Parameters<Dapr['http']>[2], timeoutMs: number): Promise<Answer> {
    try {
      return await dapr.http(endpoint, path, init, { timeoutMs })
    } catch {
      return { status: 0, body: undefined }
    }
  }
  const post = (path: string, idempotencyKey: string, form: Record<string, string>) => {
    const headers = { 'content-type': 'application/x-www-form-urlencoded', 'idempotency-key': idempotencyKey }
    return call(path, { method: 'POST', headers, body: new URLSearchParams(form).toString() }, sendTimeoutMs)
  }
  const ask = (path: string, query: Record<string, string>) =>
    call(`${path}?${new URLSearchParams(query).toString()}`, { method: 'GET' }, askTimeoutMs)

  async function find(task: Task): Promise<Performed> {
    if (task.kind !== 'refund') {
      // https://docs.stripe.com/search#query-structure-and-terminology
      const query = `metadata["order_id"]:"${task.orderId}"`
      const answer = await ask('/v1/payment_intents/search', { query, limit: '10' })
      const found = task.kind === 'check' ? readCharges(answer) : readChargesFound(answer)
      return { ...found, status: answer.status }
    }
    const answer = await ask('/v1/refunds', { payment_intent: task.providerId, limit: '100' })
    return { ...readRefundsFound(answer, task.refund.refundId), status: answer.status }
  }

  async function send(task: Exclude<Task, { kind: 'check' }>, idempotencyKey: string): Promise<Performed> {
    if (task.kind === 'charge') {
      const { amount, paymentMethod } = task.charge
      const answer = await post('/v1/payment_intents', idempotencyKey, {
        amount: String(amount.amount),
        currency: amount.currency.toLowerCase(),
        payment_method: paymentMethod,
        confirm: 'true',
        // The shopper is not there to authenticate, and a charge must not wait for that.
        error_on_requires_action: 'true',
        'metadata[order_id]': task.orderId,
      })
      return { ...readCharge(answer), status: answer.status }
    }
    const answer = await post('/v1/refunds', idempotencyKey, {
      payment_intent: task.providerId,
      amount: String(task.refund.amount),
      'metadata[order_id]': task.orderId,
      'metadata[refund_id]': task.refund.refundId,
    })
    return { ...readRefund(answer), status: answer.status }
  }

  return {
    /**
     * Does what a task says, within `performMs`. If `until` (epoch ms) is too near for that,
     * nothing is sent: another may have taken the task on by then.
     */
    async perform(task: Task, until: number): Promise<Performed> {
      if (task.ask || task.kind === 'check' || task.idempotencyKey === undefined) {
        const found = await find(task)
        if (found.outcome !== 'absent' || task.kind === 'check' || task.idempotencyKey === undefined) return found
      }
      if (Date.now() + sendTimeoutMs > until)
        return { outcome: 'later', error: false, answer: 'the lease is over', status: 0 }
      return send(task, task.idempotencyKey)
    },

    /**
     * Returns whether the circuit breaker lets requests through: sends one that changes nothing,
     * whose success closes it.
     */
    async isReachable(): Promise<boolean> {
      const answer = await ask('/v1/payment_intents', { limit: '1' })
      return answer.status !== 0 && !isBreaker(answer) && answer.status < 500
    },
  }
}
