import * as z from 'zod'
import type { Dapr } from '#lib/dapr.ts'
import { unavailable } from '#lib/errors.ts'
import type { Logger } from '#lib/logger.ts'
import type { ChargeAnswer, Money } from './payment.ts'

/** The HTTPEndpoint resource; its sidecar adds the credentials, so that this service holds none. */
const endpoint = 'payment-provider'
/**
 * A charge may wait for a bank. Whoever waits less than the provider needs asks again and again.
 */
const timeoutMs = 10_000

const intentSchema = z.object({ id: z.string().min(1), status: z.string() })
const errorSchema = z.object({
  error: z.object({ type: z.string(), code: z.string().optional(), decline_code: z.string().optional() }),
})

/** Reasons that a shopper can act on; a stolen card is not told from another. */
const reasons: Record<string, string> = {
  insufficient_funds: 'insufficient_funds',
  expired_card: 'expired_card',
  incorrect_cvc: 'incorrect_cvc',
}

export type ProviderClient = ReturnType<typeof createProviderClient>

/**
 * The payment provider, an HTTP API in the manner of Stripe. An idempotency key makes a repeated
 * call harmless: it is answered with what the first one did. Whatever leaves open what was done (no
 * answer, 5xx, 429, an answer that makes no sense) throws AppError `unavailable`: ask again with
 * the same key.
 */
export function createProviderClient(o: { dapr: Pick<Dapr, 'http'>; log: Logger }) {
  async function post(path: string, idempotencyKey: string, form: Record<string, string>) {
    const headers = { 'content-type': 'application/x-www-form-urlencoded', 'idempotency-key': idempotencyKey }
    const { status, body } = await o.dapr.http(
      endpoint,
      path,
      { method: 'POST', headers, body: new URLSearchParams(form).toString() },
      { timeoutMs },
    )
    const { error } = errorSchema.safeParse(body).data ?? {}
    const undecided = () => {
      // 401 and 403 are this side's fault: a wrong key is an outage, not a reason to cancel orders.
      o.log[status === 401 || status === 403 || status < 500 ? 'error' : 'warn'](
        { status, path, errorType: error?.type, errorCode: error?.code, idempotencyKey },
        'payment provider did not decide',
      )
      return unavailable('payment_provider_unavailable', `the payment provider answered ${status}`)
    }
    return { status, body, error, undecided }
  }

  /**
   * An answer of the provider itself that says no for good; a used idempotency key does not, since
   * another request was made with it.
   */
  const isRefusal = (status: number, error: { type: string } | undefined) =>
    [400, 402, 404, 422].includes(status) && error !== undefined && error.type !== 'idempotency_error'

  return {
    /** Charges once per order. */
    async charge(orderId: string, amount: Money, paymentMethod: string): Promise<ChargeAnswer> {
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
      o.log.error(
        { orderId, status, errorType: error?.type, errorCode: error?.code },
        'payment provider refused the request itself',
      )
      return { outcome: 'declined', reason: 'payment_refused' }
    },

    /** Gives back a charge in full, once per order. */
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
