import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { onAnswered, onCancelled, onRefunded, onRequested, type ChargeAnswer, type Payment } from './payment.ts'

const order = { orderId: 'o-1', userId: 'u-1' }
const charge = { amount: { amount: 1999, currency: 'USD' }, paymentMethod: 'pm_card_visa' }
const pending: Payment = { ...order, status: 'PENDING', charge, reason: '', providerId: '' }
const captured: Payment = { ...pending, status: 'CAPTURED', providerId: 'pi_1' }

describe('a request for payment', () => {
  test('is stored before the provider is asked', () => {
    expect(onRequested(undefined, order, charge)).toEqual({ do: 'store', changed: { payment: pending } })
    expect(onRequested(pending, order, charge)).toEqual({ do: 'charge', charge })
  })
  test('charges what was stored, not what a repeat says', () => {
    expect(onRequested(pending, order, { ...charge, paymentMethod: 'pm_other' })).toEqual({ do: 'charge', charge })
  })
  test('after the cancellation charges nothing', () => {
    const next = onCancelled(undefined, order)
    expect(next).toMatchObject({ do: 'store', changed: { payment: { status: 'FORBIDDEN' } } })
    expect(onRequested(next.do === 'store' ? next.changed.payment : undefined, order, charge)).toEqual({ do: 'done' })
  })
})

test("a captured payment tells its amount and the provider's id", () => {
  expect(onAnswered(pending, { outcome: 'captured', providerId: 'pi_1' })).toEqual({
    payment: captured,
    event: { type: 'payments.payment-captured.v1', data: { ...order, amount: charge.amount, providerId: 'pi_1' } },
  })
})

test('a declined payment tells why', () => {
  expect(onAnswered(pending, { outcome: 'declined', reason: 'insufficient_funds' })).toMatchObject({
    payment: { status: 'DECLINED', reason: 'insufficient_funds' },
    event: { type: 'payments.payment-declined.v1', data: { ...order, reason: 'insufficient_funds' } },
  })
})

test('a cancellation of a captured payment asks for a refund, which is told once', () => {
  expect(onCancelled(captured, order)).toEqual({ do: 'refund', providerId: 'pi_1' })
  const refunded = onRefunded(captured)
  expect(refunded).toMatchObject({
    payment: { status: 'REFUNDED' },
    event: { type: 'payments.payment-refunded.v1', data: { ...order, amount: charge.amount } },
  })
  expect(onRefunded(refunded!.payment)).toBeUndefined()
})

test('requests and cancellations in any order, with any repeats: at most one capture and one refund, and no money kept of a cancelled order', () => {
  const step = fc.constantFrom('request' as const, 'cancel' as const)
  const answers: ChargeAnswer[] = [
    { outcome: 'captured', providerId: 'pi_1' },
    { outcome: 'declined', reason: 'card_declined' },
  ]
  fc.assert(
    fc.property(fc.array(step, { maxLength: 10 }), fc.constantFrom(...answers), (steps, answer) => {
      let payment: Payment | undefined
      const told: string[] = []
      const apply = (changed: { payment: Payment; event?: { type: string } } | undefined) => {
        if (!changed) return
        payment = changed.payment
        if (changed.event) told.push(changed.event.type)
      }
      for (const s of steps) {
        const decide = () => (s === 'request' ? onRequested(payment, order, charge) : onCancelled(payment, order))
        const first = decide()
        if (first.do === 'store') apply(first.changed)
        const next = first.do === 'store' ? decide() : first
        if (next.do === 'charge') apply(onAnswered(payment!, answer))
        if (next.do === 'refund') apply(onRefunded(payment!))
      }
      expect(told.filter((t) => t === 'payments.payment-captured.v1').length).toBeLessThanOrEqual(1)
      expect(told.filter((t) => t === 'payments.payment-refunded.v1').length).toBeLessThanOrEqual(1)
      if (steps.includes('cancel')) expect(payment?.status).not.toBe('CAPTURED')
    }),
  )
})
