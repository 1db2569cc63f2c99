import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  onCancelled,
  onCharged,
  onRefunded,
  onRequested,
  type ChargeResult,
  type Decision,
  type Payment,
} from './payment.ts'

const order = { orderId: 'o-1', userId: 'u-1' }
const charge = { amount: { amount: 1999, currency: 'USD' }, paymentMethod: 'pm_card_visa' }
const pending: Payment = { ...order, status: 'PENDING', charge, reason: '', providerId: '' }
const captured: Payment = { ...pending, status: 'CAPTURED', providerId: 'pi_1' }

const changed = (decision: Decision) => {
  if (decision.outcome !== 'changed') throw new Error(`expected a change, not ${decision.outcome}`)
  return decision.payment
}

describe('a request for payment', () => {
  test('is stored before the provider is called', () => {
    expect(onRequested(undefined, order, charge)).toEqual({ outcome: 'changed', payment: pending })
    expect(onRequested(pending, order, charge)).toEqual({ outcome: 'charge', charge })
  })
  test('charges what was stored, not what a repeat says', () => {
    expect(onRequested(pending, order, { ...charge, paymentMethod: 'pm_other' })).toEqual({ outcome: 'charge', charge })
  })
  test('after the cancellation charges nothing', () => {
    const forbidden = onCancelled(undefined, order)
    expect(forbidden).toMatchObject({ outcome: 'changed', payment: { status: 'FORBIDDEN' } })
    expect(onRequested(changed(forbidden), order, charge)).toEqual({ outcome: 'unchanged' })
  })
})

test("the event of a captured payment contains its amount and the provider's id", () => {
  expect(onCharged(pending, { outcome: 'captured', providerId: 'pi_1' })).toEqual({
    outcome: 'changed',
    payment: captured,
    event: { type: 'payments.payment-captured.v1', data: { ...order, amount: charge.amount, providerId: 'pi_1' } },
  })
})

test('the event of a declined payment contains the reason', () => {
  expect(onCharged(pending, { outcome: 'declined', reason: 'insufficient_funds' })).toMatchObject({
    payment: { status: 'DECLINED', reason: 'insufficient_funds' },
    event: { type: 'payments.payment-declined.v1', data: { ...order, reason: 'insufficient_funds' } },
  })
})

test('the cancellation of a captured payment asks for a refund, which is published once', () => {
  expect(onCancelled(captured, order)).toEqual({ outcome: 'refund', providerId: 'pi_1' })
  const refunded = onRefunded(captured)
  expect(refunded).toMatchObject({
    payment: { status: 'REFUNDED' },
    event: { type: 'payments.payment-refunded.v1', data: { ...order, amount: charge.amount } },
  })
  expect(onRefunded(changed(refunded))).toEqual({ outcome: 'unchanged' })
})

test('any requests and cancellations: at most one capture and one refund, and no cancelled order stays paid', () => {
  const step = fc.constantFrom('request' as const, 'cancel' as const)
  const results: ChargeResult[] = [
    { outcome: 'captured', providerId: 'pi_1' },
    { outcome: 'declined', reason: 'card_declined' },
  ]
  fc.assert(
    fc.property(fc.array(step, { maxLength: 10 }), fc.constantFrom(...results), (steps, result) => {
      let payment: Payment | undefined
      const published: string[] = []
      const apply = (decision: Decision) => {
        if (decision.outcome !== 'changed') return
        payment = decision.payment
        if (decision.event) published.push(decision.event.type)
      }
      for (const s of steps) {
        const decide = () => (s === 'request' ? onRequested(payment, order, charge) : onCancelled(payment, order))
        apply(decide())
        const next = decide()
        if (next.outcome === 'charge') apply(onCharged(payment, result))
        if (next.outcome === 'refund') apply(onRefunded(payment))
      }
      expect(published.filter((t) => t === 'payments.payment-captured.v1').length).toBeLessThanOrEqual(1)
      expect(published.filter((t) => t === 'payments.payment-refunded.v1').length).toBeLessThanOrEqual(1)
      if (steps.includes('cancel')) expect(payment?.status).not.toBe('CAPTURED')
    }),
  )
})
