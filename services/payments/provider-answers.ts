import * as z from 'zod'
import type { CallResult } from './payment.ts'

// What the provider's answers mean: one table for charges, one for refunds. No I/O.

/** An HTTP response; status 0 if none came. */
export type Answer = { status: number; body: unknown }

const failureSchema = z.object({
  type: z.string().optional(),
  code: z.string().optional(),
  decline_code: z.string().optional(),
  param: z.string().optional(),
})
const errorSchema = z.object({ error: failureSchema })
const intentSchema = z.object({
  id: z.string().min(1),
  status: z.string(),
  last_payment_error: failureSchema.nullish(),
  metadata: z.record(z.string(), z.string()).nullish(),
})
type Intent = z.infer<typeof intentSchema>
const intentsSchema = z.object({ data: z.array(intentSchema) })
const refundSchema = z.object({
  id: z.string().min(1),
  status: z.string().nullish(),
  metadata: z.record(z.string(), z.string()).nullish(),
})

const refundsSchema = z.object({ data: z.array(refundSchema) })

type Failure = z.infer<typeof failureSchema>

/** What the rows below look at. */
type Facts = {
  status: number
  /** Of a response that says what became of the charge or refund. */
  object?: { id: string; status?: string | null | undefined }
  failure: Failure
  isBreaker: boolean
}

export type Row = {
  name: string
  when: (facts: Facts) => boolean
  means: (facts: Facts) => CallResult
}

/** Reasons that a shopper can act on. All others are reported as `card_declined`. */
const reasons: Record<string, string> = {
  insufficient_funds: 'insufficient_funds',
  expired_card: 'expired_card',
  incorrect_cvc: 'incorrect_cvc',
  authentication_required: 'authentication_required',
  issuer_not_available: 'try_again_later',
  processing_error: 'try_again_later',
  try_again_later: 'try_again_later',
}
const reasonOf = ({ decline_code: declineCode, code }: Failure): string =>
  reasons[declineCode ?? ''] ?? reasons[code ?? ''] ?? 'card_declined'

const later: CallResult = { outcome: 'later', error: false }
const ours: CallResult = { outcome: 'ours' }
const isOk = ({ status }: Facts) => status >= 200 && status < 300

/** Answers that mean the same for charges and refunds. The first row that fits counts. */
const common: Row[] = [
  { name: 'no answer', when: ({ status }) => status === 0, means: () => later },
  { name: 'the circuit breaker is open', when: ({ isBreaker }) => isBreaker, means: () => ({ outcome: 'not_sent' }) },
  { name: 'wrong key (401)', when: ({ status }) => status === 401, means: () => ours },
  { name: 'not allowed (403)', when: ({ status }) => status === 403, means: () => ours },
  { name: 'the same key is in use (409)', when: ({ status }) => status === 409, means: () => later },
  { name: 'too many requests (429)', when: ({ status }) => status === 429, means: () => later },
  {
    name: 'error of the provider (5xx)',
    when: ({ status }) => status >= 500,
    means: () => ({ ...later, error: true }),
  },
  { name: 'a wrong request (4xx)', when: ({ status }) => status >= 400, means: () => ours },
  { name: 'anything else', when: () => true, means: () => later },
]

/** What becomes of a charge. */
export const chargeAnswers: Row[] = [
  {
    name: 'succeeded',
    when: (facts) => isOk(facts) && facts.object?.status === 'succeeded',
    means: ({ object }) => ({ outcome: 'done', providerId: object!.id }),
  },
  { name: 'processing', when: (facts) => isOk(facts) && facts.object?.status === 'processing', means: () => later },
  {
    name: 'needs the shopper',
    when: (facts) => isOk(facts) && facts.object?.status === 'requires_action',
    means: () => ({ outcome: 'declined', reason: 'authentication_required' }),
  },
  {
    name: 'declined before',
    when: (facts) => isOk(facts) && facts.object?.status === 'requires_payment_method',
    means: ({ failure }) => ({ outcome: 'declined', reason: reasonOf(failure) }),
  },
  {
    name: 'cancelled at the provider',
    when: (facts) => isOk(facts) && facts.object?.status === 'canceled',
    means: () => ({ outcome: 'declined', reason: 'payment_cancelled' }),
  },
  {
    name: 'declined by the bank (402)',
    when: ({ status }) => status === 402,
    means: ({ failure }) => ({ outcome: 'declined', reason: reasonOf(failure) }),
  },
  {
    name: 'unknown payment method (400)',
    when: ({ status, failure }) =>
      status === 400 && failure.code === 'resource_missing' && failure.param === 'payment_method',
    means: () => ({ outcome: 'declined', reason: 'payment_refused' }),
  },
  ...common,
]

/** What becomes of a refund. It is never declined: what was captured must go back. */
export const refundAnswers: Row[] = [
  {
    name: 'made, or on its way to the bank',
    when: (facts) => isOk(facts) && ['succeeded', 'pending'].includes(facts.object?.status ?? ''),
    means: ({ object }) => ({ outcome: 'done', providerId: object!.id }),
  },
  {
    name: 'the bank refuses it',
    when: (facts) => isOk(facts) && ['failed', 'canceled', 'requires_action'].includes(facts.object?.status ?? ''),
    means: () => ours,
  },
  {
    name: 'refunded before, by hand',
    when: ({ status, failure }) => status === 400 && failure.code === 'charge_already_refunded',
    means: () => ({ outcome: 'done', providerId: '' }),
  },
  ...common,
]

const read = (rows: Row[], facts: Facts): CallResult & { answer: string } => {
  const row = rows.find(({ when }) => when(facts))!
  return { ...row.means(facts), answer: row.name }
}

/** Returns what the answer to a charge means, and the name of its row. */
export const readCharge = (answer: Answer) =>
  read(chargeAnswers, factsOf(answer, intentSchema.safeParse(answer.body).data))

/** Returns what the answer to a refund means, and the name of its row. */
export const readRefund = (answer: Answer) =>
  read(refundAnswers, factsOf(answer, refundSchema.safeParse(answer.body).data))

/**
 * Returns what a search for an order's charges means: `absent` if there are none. One that
 * succeeded counts before one that is undecided, and that before one that was declined.
 */
export function readChargesFound(answer: Answer): CallResult & { answer: string } {
  const found = intentsSchema.safeParse(answer.body).data?.data
  if (answer.status !== 200 || !found) return notFound(readCharge({ ...answer, body: undefinedIfOk(answer) }))
  const meanings = found.map((body) => readCharge({ status: 200, body }))
  return (
    meanings.find(({ outcome }) => outcome === 'done') ??
    meanings.find(({ outcome }) => outcome === 'later') ??
    meanings[0] ?? { outcome: 'absent', answer: 'no such charge' }
  )
}

/** Returns all charges that a search found and that succeeded. */
export function readCharges(answer: Answer): CallResult & { answer: string } {
  const found = intentsSchema.safeParse(answer.body).data?.data
  if (answer.status !== 200 || !found) return notFound(readCharge({ ...answer, body: undefinedIfOk(answer) }))
  const providerIds = found.filter(({ status }) => status === 'succeeded').map(({ id }) => id)
  return { outcome: 'checked', providerIds, answer: `${providerIds.length} charges` }
}

/**
 * Returns what a list of a charge's refunds means: `absent` if the one with `refundId` is not
 * there.
 */
export function readRefundsFound(answer: Answer, refundId: string): CallResult & { answer: string } {
  const found = refundsSchema.safeParse(answer.body).data?.data
  if (answer.status !== 200 || !found) return notFound(readRefund({ ...answer, body: undefinedIfOk(answer) }))
  const body = found.find(({ metadata }) => metadata?.['refund_id'] === refundId)
  return body ? readRefund({ status: 200, body }) : { outcome: 'absent', answer: 'no such refund' }
}

/**
 * What a question is answered decides nothing: neither a 402 nor an error that a key would repeat.
 */
function notFound(result: CallResult & { answer: string }): CallResult & { answer: string } {
  if (result.outcome === 'later' || result.outcome === 'declined' || result.outcome === 'done')
    return { ...later, answer: result.answer }
  return result
}
const undefinedIfOk = ({ status, body }: Answer) => (status === 200 ? undefined : body)

function factsOf({ status, body }: Answer, object: (Intent | z.infer<typeof refundSchema>) | undefined): Facts {
  const failure = errorSchema.safeParse(body).data?.error
  const last = object && 'last_payment_error' in object ? object.last_payment_error : undefined
  return { status, failure: failure ?? last ?? {}, isBreaker: isBreaker({ status, body }), ...(object && { object }) }
}

// daprd's words: https://github.com/dapr/dapr/blob/v1.18.0/pkg/resiliency/breaker/circuitbreaker.go
const daprFailure = z.object({ errorCode: z.literal('ERR_DIRECT_INVOKE'), message: z.string() })

/** Whether the sidecar's circuit breaker let nothing through. */
export const isBreaker = ({ status, body }: Answer): boolean =>
  status === 500 &&
  /circuit breaker is open|err: too many requests$/.test(daprFailure.safeParse(body).data?.message ?? '')
