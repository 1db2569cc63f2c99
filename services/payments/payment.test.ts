import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  lease,
  onRequested,
  onResult,
  onWithdrawn,
  pauseAfter,
  refundedOf,
  requestRefund,
  type CallResult,
  type Decision,
  type Payment,
  type PaymentEvent,
  type Task,
} from './payment.ts'

const order = { orderId: 'o-1', userId: 'u-1' }
const charge = { amount: { amount: 1999, currency: 'USD' }, paymentMethod: 'pm_card_visa' }
const timing = { leaseMs: 30_000, settleMs: 75_000 }
const noon = Date.parse('2026-11-24T12:00:00Z')

function after(decision: Decision): Payment {
  if (decision.outcome !== 'changed') throw new Error(`expected a change, not ${decision.outcome}`)
  return decision.payment
}
function taken(payment: Payment, now = noon): { payment: Payment; task: Task } {
  const leased = lease(payment, now, timing)
  if (!leased) throw new Error('expected something to do')
  return leased
}
const result = (payment: Payment, task: Task, what: CallResult, now = noon) =>
  onResult(payment, task, what, now, 0.5, timing)
const done: CallResult = { outcome: 'done', providerId: 'pi_1' }
const later: CallResult = { outcome: 'later', error: false }
const error: CallResult = { outcome: 'later', error: true }

const requested = after(onRequested(undefined, order, charge, noon))
const first = taken(requested)
const captured = after(result(first.payment, first.task, done))

describe('a request for payment', () => {
  test('becomes PENDING and due; a repeat changes nothing', () => {
    expect(requested).toMatchObject({ status: 'PENDING', charge, due: '2026-11-24T12:00:00.000Z' })
    expect(onRequested(requested, order, charge, noon)).toEqual({ outcome: 'unchanged' })
  })
  test('of nothing is captured without the provider', () => {
    const free = { ...charge, amount: { amount: 0, currency: 'USD' } }
    const decision = onRequested(undefined, order, free, noon)
    expect(decision).toMatchObject({ payment: { status: 'CAPTURED' }, event: { type: 'payments.payment-captured.v1' } })
    expect(after(decision)).not.toHaveProperty('due')
    expect(lease(after(decision), noon, timing)).toBeUndefined()
    expect(after(onWithdrawn(after(decision), order, noon))).toMatchObject({ status: 'REFUNDED', refunds: [] })
  })
  test('after the withdrawal charges nothing', () => {
    const forbidden = after(onWithdrawn(undefined, order, noon))
    expect(forbidden).toMatchObject({ status: 'FORBIDDEN' })
    expect(onRequested(forbidden, order, charge, noon)).toEqual({ outcome: 'unchanged' })
    expect(lease(forbidden, noon, timing)).toBeUndefined()
  })
})

describe('the events', () => {
  test("of a captured payment contain its amount and the provider's id", () => {
    expect(result(first.payment, first.task, done)).toMatchObject({
      event: { type: 'payments.payment-captured.v1', data: { ...order, amount: charge.amount, providerId: 'pi_1' } },
    })
  })
  test('of a declined payment contain the reason', () => {
    expect(result(first.payment, first.task, { outcome: 'declined', reason: 'insufficient_funds' })).toMatchObject({
      payment: { status: 'DECLINED', reason: 'insufficient_funds' },
      event: { type: 'payments.payment-declined.v1', data: { ...order, reason: 'insufficient_funds' } },
    })
  })
  test('of a refund contain its amount and the sum so far', () => {
    let payment = captured
    const sums = [500, 1499].map((amount, i) => {
      payment = after(requestRefund(payment, { refundId: `r-${i}`, amount, reason: '' }, noon) as Decision)
      const refund = taken(payment)
      const decision = result(refund.payment, refund.task, { outcome: 'done', providerId: 're_1' })
      payment = after(decision)
      return [decision.outcome === 'changed' && decision.event?.data, payment.status]
    })
    const money = (amount: number) => ({ amount, currency: 'USD' })
    expect(sums).toEqual([
      [{ ...order, amount: money(500), refunded: money(500) }, 'CAPTURED'],
      [{ ...order, amount: money(1499), refunded: money(1999) }, 'REFUNDED'],
    ])
  })
})

describe('an attempt', () => {
  test('is a worker’s own for the lease', () => {
    expect(first.payment.due).toBe('2026-11-24T12:00:30.000Z')
    expect(first.task).toEqual({
      kind: 'charge',
      orderId: 'o-1',
      attempt: 1,
      ask: false,
      idempotencyKey: 'o-1',
      charge,
    })
  })
  test('that is repeated asks first, and sends with the same key', () => {
    expect(taken(first.payment, noon + 30_000).task).toMatchObject({ ask: true, attempt: 2, idempotencyKey: 'o-1' })
  })
  test('that the provider answered with errors only asks, until a new key is safe', () => {
    let { payment, task } = first
    let now = noon
    for (let i = 0; i < 3; i += 1) {
      payment = after(result(payment, task, error, now))
      now += 1_000
      ;({ payment, task } = taken(payment, now))
    }
    expect(task).not.toHaveProperty('idempotencyKey')
    const sentAt = now - 1_000
    payment = after(result(payment, task, { outcome: 'absent' }, now))
    expect(payment.due).toBe(new Date(sentAt + timing.settleMs).toISOString())
    now = Date.parse(payment.due!)
    ;({ payment, task } = taken(payment, now))
    expect(task).toMatchObject({ ask: true, idempotencyKey: 'o-1-1' })
    // The new key is used like the first.
    payment = after(result(payment, task, error, now))
    expect(taken(payment, now + 1_000).task).toMatchObject({ ask: true, idempotencyKey: 'o-1-1' })
  })
  test('after the provider has forgotten the key asks, and sends with a new one', () => {
    expect(taken(first.payment, noon + 13 * 3_600_000).task).toMatchObject({ ask: true, idempotencyKey: 'o-1-1' })
  })
  test('of a worker whose lease was over changes nothing unless it is final', () => {
    const second = taken(first.payment, noon + 30_000)
    expect(result(second.payment, first.task, later)).toEqual({ outcome: 'unchanged' })
    expect(result(second.payment, first.task, done)).toMatchObject({ payment: { status: 'CAPTURED' } })
  })
  test('that charged a second time is refunded, without an event', () => {
    const decision = result(captured, first.task, { outcome: 'done', providerId: 'pi_2' })
    expect(decision).toMatchObject({
      payment: { status: 'CAPTURED', refunds: [{ strayCharge: 'pi_2', amount: 1999 }] },
    })
    const { payment, task } = taken(after(decision))
    expect(task).toMatchObject({ kind: 'refund', providerId: 'pi_2' })
    const refunded = result(payment, task, { outcome: 'done', providerId: 're_1' })
    expect(refunded).not.toHaveProperty('event')
    expect(after(refunded)).toMatchObject({ status: 'CAPTURED' })
    expect(refundedOf(after(refunded))).toBe(0)
    expect(after(refunded)).not.toHaveProperty('due')
  })
})

test('pauses double, with jitter, up to a minute; ten minutes if our requests are refused', () => {
  const pauses = (what: CallResult, random: number) => [1, 2, 3, 10, 100].map((n) => pauseAfter(what, n, random))
  expect(pauses(later, 1)).toEqual([1_000, 2_000, 4_000, 60_000, 60_000])
  expect(pauses(later, 0)).toEqual([500, 1_000, 2_000, 30_000, 30_000])
  expect(pauses({ outcome: 'ours' }, 1)).toEqual([60_000, 120_000, 240_000, 600_000, 600_000])
})

describe('the withdrawal', () => {
  test('of what no worker has taken on forbids it', () => {
    expect(after(onWithdrawn(requested, order, noon))).toMatchObject({ status: 'FORBIDDEN' })
    expect(after(onWithdrawn(requested, order, noon))).not.toHaveProperty('due')
  })
  test('of what is under way refunds what turns out to be captured', () => {
    const withdrawn = after(onWithdrawn(first.payment, order, noon))
    expect(withdrawn).toMatchObject({ status: 'PENDING', withdrawn: true, due: first.payment.due })
    const decision = result(withdrawn, first.task, done)
    expect(decision).toMatchObject({ event: { type: 'payments.payment-captured.v1' } })
    expect(after(decision)).toMatchObject({ status: 'CAPTURED', refunds: [{ amount: 1999, status: 'PENDING' }] })
  })
  test('never sends a charge again, and forbids it once it must have shown', () => {
    const withdrawn = after(onWithdrawn(first.payment, order, noon))
    const second = taken(withdrawn, noon + 30_000)
    expect(second.task).toMatchObject({ ask: true })
    expect(second.task).not.toHaveProperty('idempotencyKey')
    const waits = after(result(second.payment, second.task, { outcome: 'absent' }, noon + 30_000))
    expect(waits).toMatchObject({ status: 'PENDING', due: new Date(noon + timing.settleMs).toISOString() })
    const third = taken(waits, noon + timing.settleMs)
    expect(after(result(third.payment, third.task, { outcome: 'absent' }, noon + timing.settleMs))).toMatchObject({
      status: 'FORBIDDEN',
    })
  })
  test('of a captured payment refunds what is left, once', () => {
    const partly = after(requestRefund(captured, { refundId: 'r-1', amount: 500, reason: '' }, noon) as Decision)
    const withdrawn = after(onWithdrawn(partly, order, noon))
    expect(withdrawn.refunds.map(({ amount }) => amount)).toEqual([500, 1499])
    expect(onWithdrawn(withdrawn, order, noon)).toEqual({ outcome: 'unchanged' })
  })
})

describe('a refund', () => {
  const ask = (payment: Payment | undefined, refundId: string, amount?: number) =>
    requestRefund(payment, { refundId, reason: '', ...(amount !== undefined && { amount }) }, noon)
  test.each([
    ['of no payment', undefined, 1, 'payment_not_found'],
    ['of one that is not captured', requested, 1, 'payment_not_captured'],
    ['of more than was captured', captured, 2000, 'refund_too_large'],
    ['of nothing', captured, 0, 'refund_too_large'],
  ])('%s is rejected', (_, payment, amount, reason) => {
    expect(ask(payment, 'r-1', amount)).toEqual({ outcome: 'rejected', reason })
  })
  test('counts from when it is recorded: two at once never exceed what was captured', () => {
    const one = after(ask(captured, 'r-1', 1_500) as Decision)
    expect(ask(one, 'r-2', 500)).toEqual({ outcome: 'rejected', reason: 'refund_too_large' })
    const all = after(ask(one, 'r-2') as Decision)
    expect(all.refunds.map(({ amount }) => amount)).toEqual([1_500, 499])
    expect(ask(all, 'r-3')).toEqual({ outcome: 'rejected', reason: 'already_refunded' })
  })
  test('with a known id is the same one', () => {
    const one = after(ask(captured, 'r-1') as Decision)
    expect(ask(one, 'r-1')).toEqual({ outcome: 'unchanged', payment: one })
    expect(ask(one, 'r-1', 5)).toEqual({ outcome: 'rejected', reason: 'idempotency_key_reused' })
  })
})

// A provider that loses requests and answers, stores errors, forgets keys and finds charges late;
// workers that die before or after they send, or sleep past their lease and go on. That is only so
// for charges: a second one is refunded, while a refund cannot be undone, and the client therefore
// looks at the lease right before it sends.
test('whatever is lost or repeated: at most one charge that is not refunded, and none of a withdrawn order', () => {
  const fault = fc.constantFrom(
    ...([
      'none',
      'none',
      'lost request',
      'lost answer',
      'error',
      'charged error',
      'dies',
      'dies after',
      'sleeps',
    ] as const),
  )
  const step = fc.oneof(
    { weight: 5, arbitrary: fc.record({ do: fc.constant('work' as const), fault }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('request' as const) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('withdraw' as const) }) },
    {
      weight: 1,
      arbitrary: fc.record({ do: fc.constant('refund' as const), amount: fc.integer({ min: 1, max: 2_500 }) }),
    },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('wake' as const) }) },
    {
      weight: 1,
      arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.integer({ min: 0, max: 100_000_000 }) }),
    },
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 25 }), (steps) => {
      let payment: Payment | undefined
      let now = noon
      let isWithdrawn = false
      const events: PaymentEvent[] = []
      const sleeping: Task[] = []
      const { perform, charges, refunds } = createProvider(() => now)

      const apply = (decision: Decision) => {
        if (decision.outcome !== 'changed') return
        payment = decision.payment
        if (decision.event) events.push(decision.event)
      }
      const work = (how: Fault) => {
        if (payment?.due === undefined || Date.parse(payment.due) > now) return
        const leased = lease(payment, now, timing)
        expect(leased).toBeDefined()
        payment = leased!.payment
        const { task } = leased!
        if (how === 'dies') return
        if (how === 'sleeps' && task.kind === 'charge') return void sleeping.push(task)
        const answer = perform(task, how === 'dies after' ? 'none' : how)
        if (how === 'dies after') return
        apply(onResult(payment, task, answer, now, 0.5, timing))
      }
      const wake = () => {
        const task = sleeping.shift()
        if (task) apply(onResult(payment, task, perform(task, 'none'), now, 0.5, timing))
      }
      for (const each of steps) {
        if (each.do === 'request') apply(onRequested(payment, order, charge, now))
        if (each.do === 'withdraw') {
          apply(onWithdrawn(payment, order, now))
          isWithdrawn = true
        }
        if (each.do === 'refund') {
          const decision = requestRefund(payment, { refundId: `r-${now}`, amount: each.amount, reason: '' }, now)
          if (decision.outcome === 'changed') apply(decision)
        }
        if (each.do === 'wait') now += each.ms
        if (each.do === 'wake') wake()
        if (each.do === 'work') work(each.fault)
        now += 1
        expect(refundedOf(payment ?? captured)).toBeLessThanOrEqual(1999)
      }
      // Whoever sleeps wakes up, and what is due is done: then nothing is left to do.
      while (sleeping.length > 0) wake()
      for (let i = 0; i < 20 && payment?.due !== undefined; i += 1) {
        now = Math.max(now, Date.parse(payment.due))
        work('none')
      }
      expect(payment?.due).toBeUndefined()
      const net = charges.size * 1999 - [...refunds.values()].reduce((sum, { amount }) => sum + amount, 0)
      const types = events.map(({ type }) => type)
      expect(types.filter((type) => type === 'payments.payment-captured.v1').length).toBeLessThanOrEqual(1)
      expect(net).toBe(payment && ['CAPTURED', 'REFUNDED'].includes(payment.status) ? 1999 - refundedOf(payment) : 0)
      if (isWithdrawn) expect(net).toBe(0)
    }),
    { numRuns: 2_000 },
  )
})

type Fault = 'none' | 'lost request' | 'lost answer' | 'error' | 'charged error' | 'dies' | 'dies after' | 'sleeps'

function createProvider(now: () => number) {
  const charges = new Map<string, { at: number }>()
  const refunds = new Map<string, { at: number; amount: number; refundId: string }>()
  const keys = new Map<string, { at: number; answer: CallResult }>()
  const lagMs = 60_000
  const keyMs = 24 * 3_600_000

  function perform(task: Task, how: Fault): CallResult {
    const isOld = ({ at }: { at: number }) => now() - at >= lagMs
    if (task.kind === 'check')
      return { outcome: 'checked', providerIds: [...charges].flatMap(([id, each]) => (isOld(each) ? [id] : [])) }
    if (task.ask) {
      const found =
        task.kind === 'charge'
          ? [...charges].find(([, each]) => isOld(each))
          : [...refunds].find(([, each]) => each.refundId === task.refund.refundId)
      if (found) return { outcome: 'done', providerId: found[0] }
      if (task.idempotencyKey === undefined) return { outcome: 'absent' }
    }
    if (how === 'lost request') return later
    const key = task.idempotencyKey!
    const stored = keys.get(key)
    if (stored && now() - stored.at < keyMs) return stored.answer
    let answer: CallResult = error
    if (how !== 'error') {
      const providerId = `${task.kind}-${charges.size + refunds.size}`
      if (task.kind === 'charge') charges.set(providerId, { at: now() })
      else refunds.set(providerId, { at: now(), amount: task.refund.amount, refundId: task.refund.refundId })
      if (how !== 'charged error') answer = { outcome: 'done', providerId }
    }
    keys.set(key, { at: now(), answer })
    return how === 'lost answer' ? later : answer
  }
  return { perform, charges, refunds }
}
