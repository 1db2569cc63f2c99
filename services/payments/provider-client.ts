import * as z from 'zod'
import type { Dapr } from '#lib/dapr.ts'
import { unavailable } from '#lib/errors.ts'
import type { Logger } from '#lib/logger.ts'
import type { ChargeResult, Money } from './payment.ts'

/** The HTTPEndpoint resource. The sidecar adds the credentials, so this service has none. */
const endpoint = 'payment-provider'
/**
 * A charge may wait for a bank. A time-out shorter than the provider needs would repeat for ever.
 */
const timeoutMs = 10_000

const intentSchema = z.object({ id: z.string().min(1), status: z.string() })
const errorSchema = z.object({
  error: z.object({ type: z.string(), code: z.string().optional(), decline_code: z.string().optional() }),
})

/** Reasons that a shopper can act on. All others are reported as `card_declined`. */
const reasons: Record<string, string> = {
  insufficient_funds: 'insufficient_funds',
  expired_card: 'expired_card',
  incorrect_cvc: 'incorrect_cvc',
}

export type ProviderClient = ReturnType<typeof createProviderClient>

/**
 * Creates the client of the payment provider, an HTTP API modelled on Stripe's. Its idempotency
 * keys make a repeated call harmless: it gets the result of the first. Whatever leaves the result
 * unknown (no response, 5xx, 429, a response that makes no sense) throws `unavailable`: repeat the
 * call with the same key.
 */
export function createProviderClient(deps: { dapr: Pick<Dapr, 'http'>; log: Logger }) {
  const { dapr, log } = deps

  async function post(path: string, idempotencyKey: string, form: Record<string, string>) {
    const headers = { 'content-type': 'application/x-www-form-urlencoded', 'idempotency-key': idempotencyKey }
    const { status, body } = await dapr.http(
      endpoint,
      path,
      { method: 'POST', headers, body: new URLSearchParams(form).toString() },
      { timeoutMs },
    )
    const { error } = errorSchema.safeParse(body).data ?? {}
    const undecided = () => {
      // 401 and 403 are our own fault: a wrong key is an outage, not a reason to cancel orders.
      log[status === 401 || status === 403 || status < 500 ? 'error' : 'warn'](
        { status, path, errorType: error?.type, errorCode: error?.code, idempotencyKey },
        'payment provider did not decide',
      )
      return unavailable('payment_provider_unavailable', `the payment provider returned ${status}`)
    }
    return { status, body, error, undecided }
  }

  /**
   * Returns whether the provider itself refuses for good. A reused idempotency key is no refusal:
   * it belongs to another request.
   */
  const isRefusal = (status: number, error: { type: string } | undefined) =>
    [400, 402, 404, 422].includes(status) && error !== undefined && error.type !== 'idempotency_error'

  return {
    /** Charges an order, once per order. Returns what the provider decided. */
    async charge(orderId: string, amount: Money, paymentMethod: string): Promise<ChargeResult> {
      const { status, body, error, undecided } = await post('/v1/payment_intents', orderId, {
        amount: String(amount.amount),
        currency: amount.currency.toLowerCase(),
        payment_method: paymentMethod,
        confirm: 'true',
        'metadata[order_id]': orderId,
      })
      if (status >= 200 && status < 300) {
        const intent = intentSchema.safeParse(body)
        if (intent.data?.status === 'succeeded') return { outcome: 'captured', providerId: intent.data.id }
        throw undecided()
      }
      if (!isRefusal(status, error)) throw undecided()
      if (error?.type === 'card_error')
        return { outcome: 'declined', reason: reasons[error.decline_code ?? error.code ?? ''] ?? 'card_declined' }
      log.error(
        { orderId, status, errorType: error?.type, errorCode: error?.code },
        'payment provider refused the request itself',
      )
      return { outcome: 'declined', reason: 'payment_refused' }
    },

    /** Refunds a charge in full, once per order. */
    async refund(orderId: string, providerId: string): Promise<void> {
      const { status, error, undecided } = await post('/v1/refunds', `refund-${orderId}`, {
        payment_intent: providerId,
      })
      if (status >= 200 && status < 300) return
      if (isRefusal(status, error) && error?.code === 'charge_already_refunded') return
      throw undecided()
    },
  }
}
