import * as z from 'zod'

// What a payment is and how it moves. No I/O.

export const moneySchema = z.object({ amount: z.int().min(0), currency: z.string().min(1) })
export type Money = z.infer<typeof moneySchema>

export const statuses = ['PENDING', 'CAPTURED', 'DECLINED', 'REFUNDED', 'FORBIDDEN'] as const

const refundSchema = z.object({
  /** Unique within its payment. */
  refundId: z.string(),
  /** In minor units of the charge's currency. */
  amount: z.int().min(0),
  /** The amount that was asked for; missing if that was all that was left. */
  asked: z.int().optional(),
  reason: z.string(),
  status: z.enum(['PENDING', 'DONE']),
  /** The provider's id of the refund; empty while it is not known to be done. */
  providerId: z.string(),
  /** The charge that it undoes, if that is a second one, which must not have been made. */
  strayCharge: z.string().optional(),
})
export type Refund = z.infer<typeof refundSchema>

/** What is known of the calls to the provider for one charge or refund. Times are in epoch ms. */
const callSchema = z.object({
  /** How often a worker took it on, each time for what may have been a call. */
  attempts: z.int(),
  /** Number of the idempotency key, and since when it is in use. */
  keyNumber: z.int(),
  keySince: z.int(),
  /** When the last call that may have an effect was about to be made. */
  sentAt: z.int(),
  /** Errors that the provider answered to this key. */
  errors: z.int(),
})
export type ProviderCall = z.infer<typeof callSchema>
const noCall: ProviderCall = { attempts: 0, keyNumber: 0, keySince: 0, sentAt: 0, errors: 0 }

/** An order's payment, as stored. */
export const paymentSchema = z.object({
  orderId: z.string(),
  userId: z.string(),
  status: z.enum(statuses),
  /** Missing if the order was cancelled before its payment was requested. */
  charge: z.object({ amount: moneySchema, paymentMethod: z.string() }).optional(),
  /** Why it was declined; else empty. */
  reason: z.string(),
  /** The provider's id of the charge; else empty. */
  providerId: z.string(),
  /** Whether the order was cancelled. What is captured all the same is refunded. */
  withdrawn: z.boolean().default(false),
  refunds: z.array(refundSchema).default([]),
  /** When to see whether there is a second charge; missing if there cannot be one. */
  checkAt: z.string().optional(),
  /** When a worker is to look at it (RFC 3339); missing if there is nothing to do. */
  due: z.string().optional(),
  /** Of the charge while it is PENDING, then of the first pending refund, then of the check. */
  call: callSchema.default(noCall),
  /** The trace of the order, which later attempts belong to as well. */
  traceparent: z.string().default(''),
})
export type Payment = z.infer<typeof paymentSchema>

export type Charge = NonNullable<Payment['charge']>

/** What is known after a call to the provider. */
export type CallResult =
  /** Charged, or refunded. */
  | { outcome: 'done'; providerId: string }
  /** Never charged, for a reason of the shopper's. */
  | { outcome: 'declined'; reason: string }
  /** Unknown, or the provider cannot now. `error`: it answered with an error of its own. */
  | { outcome: 'later'; error: boolean }
  /** It refuses our requests, whatever they ask for: a wrong key, say. */
  | { outcome: 'ours' }
  /** It was asked, and knows of no such charge or refund. Nothing was sent after that. */
  | { outcome: 'absent' }
  /** All charges of the order that it knows of. */
  | { outcome: 'checked'; providerIds: string[] }
  /** Nothing was sent, since the circuit breaker is open. */
  | { outcome: 'not_sent' }

/**
 * What a worker is to do: ask the provider whether it knows of the charge or refund, and, if it
 * does not, send it with the idempotency key.
 */
export type Task = { orderId: string; attempt: number; ask: boolean; idempotencyKey?: string } & (
  | { kind: 'charge'; charge: Charge }
  | { kind: 'refund'; refund: Refund; providerId: string }
  | { kind: 'check' }
)

export type PaymentEvent =
  | {
      type: 'payments.payment-captured.v1'
      data: { orderId: string; userId: string; amount: Money; providerId: string }
    }
  | { type: 'payments.payment-declined.v1'; data: { orderId: string; userId: string; reason: string } }
  | {
      type: 'payments.payment-refunded.v1'
      /** `refunded`: the sum of all refunds so far, this one included. */
      data: { orderId: string; userId: string; amount: Money; refunded: Money }
    }

export type Changed = { outcome: 'changed'; payment: Payment; event?: PaymentEvent }
export type Decision = Changed | { outcome: 'unchanged' }

const unchanged: Decision = { outcome: 'unchanged' }
const changed = (payment: Payment, event?: PaymentEvent): Changed => ({
  outcome: 'changed',
  payment,
  ...(event && { event }),
})

export type Timing = {
  /** How long a payment is a worker's own. */
  leaseMs: number
  /**
   * How long after a call the provider is sure to show its effect when it is asked. Longer than the
   * call itself may take, and than the provider's search lags behind.
   */
  settleMs: number
}

/** From this many errors on, an idempotency key only gets the same error again. */
const errorsPerKey = 3
/** Providers keep idempotency keys for 24 h. */
const keyAgeMs = 12 * 3_600_000

const iso = (ms: number) => new Date(ms).toISOString()
/** Returns the payment after what was under way, due for what is next. */
function settled(payment: Payment, now: number): Payment {
  const { due: _, ...rest } = payment
  const due = payment.refunds.some(({ status }) => status === 'PENDING') ? iso(now) : payment.checkAt
  return { ...rest, call: noCall, ...(due !== undefined && { due }) }
}

/**
 * Decides about a request for payment: it becomes PENDING and due. A total of zero needs no
 * provider. An order cancelled before is never charged, and a repeat changes nothing.
 */
export function onRequested(
  known: Payment | undefined,
  order: { orderId: string; userId: string; traceparent?: string },
  charge: Charge,
  now: number,
): Decision {
  if (known) return unchanged
  const { orderId, userId, traceparent = '' } = order
  const payment = { ...newPayment(orderId, userId), charge, traceparent }
  if (charge.amount.amount === 0) return captured(payment, '', now)
  return changed({ ...payment, due: iso(now) })
}

/**
 * Decides about the withdrawal of a request, when its order was cancelled. What no worker has taken
 * on is forbidden, what is captured is refunded, and what is under way is marked, to be refunded or
 * forbidden once the provider's answer is known.
 */
export function onWithdrawn(
  known: Payment | undefined,
  order: { orderId: string; userId: string },
  now: number,
): Decision {
  if (!known) return changed({ ...newPayment(order.orderId, order.userId), status: 'FORBIDDEN', withdrawn: true })
  if (known.withdrawn) return unchanged
  switch (known.status) {
    case 'PENDING':
      return known.call.attempts === 0
        ? changed({ ...settled(known, now), status: 'FORBIDDEN', withdrawn: true })
        : changed({ ...known, withdrawn: true })
    case 'CAPTURED':
      return changed(refundRest({ ...known, withdrawn: true }, now))
    case 'DECLINED':
    case 'REFUNDED':
    case 'FORBIDDEN':
      return unchanged
  }
}

/**
 * Gives a payment to a worker for `leaseMs`, with what there is to do. Returns undefined when there
 * is nothing.
 *
 * A provider forgets idempotency keys after a day, and repeats a stored error for ever. So before
 * anything is sent again the provider is asked for it. If it knows nothing, the same key is used
 * again, which is harmless; and a new key only after the effect of the last call must have shown.
 */
export function lease(payment: Payment, now: number, timing: Timing): { payment: Payment; task: Task } | undefined {
  const pending = payment.refunds.find(({ status }) => status === 'PENDING')
  const charging = payment.status === 'PENDING' && payment.charge !== undefined
  if (!charging && !pending && payment.checkAt === undefined) return undefined
  const { attempts, keyNumber, keySince, sentAt, errors } = payment.call
  const isFirst = attempts === 0
  const isSpent = !isFirst && (errors >= errorsPerKey || now - keySince > keyAgeMs)
  const isCheck = !charging && !pending
  const sends =
    !isCheck && (isFirst || (!(charging && payment.withdrawn) && (!isSpent || now - sentAt >= timing.settleMs)))
  const isNewKey = isFirst || (sends && isSpent)
  const call: ProviderCall = {
    attempts: attempts + 1,
    keyNumber: isSpent && sends ? keyNumber + 1 : keyNumber,
    keySince: isNewKey ? now : keySince,
    sentAt: sends ? now : sentAt,
    errors: isNewKey ? 0 : errors,
  }
  const { orderId } = payment
  const suffix = call.keyNumber === 0 ? '' : `-${call.keyNumber}`
  const task = (name: string) => ({
    orderId,
    attempt: call.attempts,
    ask: !isFirst,
    ...(sends && { idempotencyKey: `${name}${suffix}` }),
  })
  const leased = { ...payment, call, due: iso(now + timing.leaseMs) }
  if (charging) return { payment: leased, task: { ...task(orderId), kind: 'charge', charge: payment.charge! } }
  if (!pending) return { payment: leased, task: { ...task(orderId), kind: 'check' } }
  const providerId = pending.strayCharge ?? payment.providerId
  const refundTask = task(`${orderId}-refund-${pending.refundId}`)
  return { payment: leased, task: { ...refundTask, kind: 'refund', refund: pending, providerId } }
}

/**
 * Decides about the result of a task. One that is not final counts only if no other worker has
 * taken the payment on since. `random` is from 0 to 1.
 */
export function onResult(
  known: Payment | undefined,
  task: Task,
  result: CallResult,
  now: number,
  random: number,
  timing: Timing,
): Decision {
  if (!known) return unchanged
  if (task.kind === 'charge' && result.outcome === 'done' && known.status !== 'PENDING')
    return strayCharged(known, [result.providerId], now)
  if (result.outcome === 'checked') {
    const { checkAt: _, ...checked } = known
    if (known.checkAt === undefined) return unchanged
    return changed(settled(withStrays(checked, result.providerIds, now), now))
  }
  const refund =
    task.kind === 'refund'
      ? known.refunds.find(({ refundId, status }) => refundId === task.refund.refundId && status === 'PENDING')
      : undefined
  const isOpen = {
    charge: known.status === 'PENDING',
    refund: refund !== undefined,
    check: known.checkAt !== undefined,
  }
  if (!isOpen[task.kind]) return unchanged

  if (result.outcome === 'done')
    return refund
      ? refunded(known, refund, result.providerId, now)
      : captured(withCheck(known, task, now, timing), result.providerId, now)
  if (result.outcome === 'declined' && task.kind === 'charge') {
    const { orderId, userId } = known
    const { reason } = result
    return changed(
      { ...settled(known, now), status: 'DECLINED', reason },
      { type: 'payments.payment-declined.v1', data: { orderId, userId, reason } },
    )
  }
  if (task.attempt !== known.call.attempts) return unchanged
  const hasSettled = now - known.call.sentAt >= timing.settleMs
  if (result.outcome === 'absent' && known.withdrawn && !refund && hasSettled)
    return changed({ ...settled(known, now), status: 'FORBIDDEN' })
  const errors = known.call.errors + (result.outcome === 'later' && result.error ? 1 : 0)
  const pause = pauseAfter(result, known.call.attempts, random)
  const settles = known.call.sentAt + timing.settleMs
  const due = result.outcome === 'absent' ? Math.max(settles, now + pause) : now + pause
  return changed({ ...known, call: { ...known.call, errors }, due: iso(due) })
}

/** Returns how long to wait until the next attempt, in ms. */
export function pauseAfter({ outcome }: CallResult, attempts: number, random: number): number {
  const [base, max] = outcome === 'ours' ? [60_000, 600_000] : [1_000, 60_000]
  const exponential = Math.min(max, base * 2 ** Math.min(attempts - 1, 20))
  return Math.round(exponential * (0.5 + random / 2))
}

export type RefundRequest = { refundId: string; amount?: number; reason: string }

/**
 * Decides about the refund of `amount`, or of all that is left. The sum of all refunds, done or
 * not, never exceeds what was captured. A refund's id always names the same refund.
 */
export function requestRefund(
  known: Payment | undefined,
  { refundId, amount, reason }: RefundRequest,
  now: number,
): Changed | { outcome: 'unchanged'; payment: Payment } | { outcome: 'rejected'; reason: RefundRejection } {
  const rejected = (why: RefundRejection) => ({ outcome: 'rejected', reason: why }) as const
  if (!known) return rejected('payment_not_found')
  const earlier = known.refunds.find((refund) => refund.refundId === refundId)
  if (earlier)
    return earlier.asked === amount && earlier.reason === reason
      ? { outcome: 'unchanged', payment: known }
      : rejected('idempotency_key_reused')
  if ((known.status !== 'CAPTURED' && known.status !== 'REFUNDED') || !known.charge)
    return rejected('payment_not_captured')
  const left = leftOf(known)
  if (left === 0) return rejected('already_refunded')
  if (amount !== undefined && (amount < 1 || amount > left)) return rejected('refund_too_large')
  const refund = { refundId, amount: amount ?? left, asked: amount, reason, status: 'PENDING' as const, providerId: '' }
  return changed(withRefund(known, refund, now))
}

export type RefundRejection =
  | 'payment_not_found'
  | 'payment_not_captured'
  | 'already_refunded'
  | 'refund_too_large'
  | 'idempotency_key_reused'

/** Returns the sum of the refunds that are done, in minor units. */
export const refundedOf = ({ refunds }: Payment): number =>
  sumOf(refunds.filter(({ status, strayCharge }) => status === 'DONE' && strayCharge === undefined))

/** Returns what may still be refunded. */
const leftOf = ({ charge, refunds }: Payment): number =>
  (charge?.amount.amount ?? 0) - sumOf(refunds.filter(({ strayCharge }) => strayCharge === undefined))

const sumOf = (refunds: Refund[]): number => refunds.reduce((sum, { amount }) => sum + amount, 0)

const newPayment = (orderId: string, userId: string): Payment => ({
  orderId,
  userId,
  status: 'PENDING',
  reason: '',
  providerId: '',
  withdrawn: false,
  refunds: [],
  call: noCall,
  traceparent: '',
})

/** Adds a refund. A worker that has the payment now goes on with it. */
const withRefund = (payment: Payment, refund: Refund, now: number): Payment => ({
  ...payment,
  refunds: [...payment.refunds, refund],
  due: payment.due ?? iso(now),
})

function refundRest(payment: Payment, now: number): Payment {
  const amount = leftOf(payment)
  if (payment.charge?.amount.amount === 0) return { ...payment, status: 'REFUNDED' }
  if (amount === 0) return payment
  const refund = {
    refundId: 'withdrawn',
    amount,
    reason: 'order_cancelled',
    status: 'PENDING' as const,
    providerId: '',
  }
  return withRefund(payment, refund, now)
}

function captured(payment: Payment, providerId: string, now: number): Changed {
  const { orderId, userId, charge, withdrawn } = payment
  const paid: Payment = { ...payment, status: 'CAPTURED', providerId }
  return changed(settled(withdrawn ? refundRest(paid, now) : paid, now), {
    type: 'payments.payment-captured.v1',
    data: { orderId, userId, amount: charge!.amount, providerId },
  })
}

/**
 * With one key and one worker at a time there is one charge. Otherwise there may be a second: a
 * worker slept past its lease and went on, say, while the provider had forgotten the key.
 */
const withCheck = (payment: Payment, task: Task, now: number, { settleMs }: Timing): Payment =>
  payment.call.keyNumber === 0 && task.attempt === payment.call.attempts
    ? payment
    : { ...payment, checkAt: iso(now + settleMs) }

/** Adds refunds of charges other than the one that counts. */
function withStrays(payment: Payment, providerIds: string[], now: number): Payment {
  const known = [payment.providerId, ...payment.refunds.map(({ strayCharge }) => strayCharge)]
  const amount = payment.charge?.amount.amount ?? 0
  const reason = 'charged_twice'
  return providerIds
    .filter((id) => !known.includes(id))
    .reduce(
      (before, id) =>
        withRefund(
          before,
          { refundId: `stray-${id}`, amount, reason, status: 'PENDING', providerId: '', strayCharge: id },
          now,
        ),
      payment,
    )
}

function strayCharged(payment: Payment, providerIds: string[], now: number): Decision {
  const after = withStrays(payment, providerIds, now)
  return after === payment ? unchanged : changed(after)
}

function refunded(payment: Payment, done: Refund, providerId: string, now: number): Changed {
  const { orderId, userId, charge } = payment
  const refunds = payment.refunds.map((refund) =>
    refund === done ? { ...refund, status: 'DONE' as const, providerId } : refund,
  )
  const next = settled({ ...payment, refunds }, now)
  if (done.strayCharge !== undefined) return changed(next)
  const { amount: total, currency } = charge!.amount
  const sum = refundedOf(next)
  return changed(
    { ...next, status: sum === total ? 'REFUNDED' : payment.status },
    {
      type: 'payments.payment-refunded.v1',
      data: { orderId, userId, amount: { amount: done.amount, currency }, refunded: { amount: sum, currency } },
    },
  )
}
