import { expect, test } from 'vitest'
import { methods } from '../../examples/payment-provider/methods.ts'
import { paymentMethods } from './payment-methods.ts'

test('orders accepts what the provider knows, and nothing else', () => {
  expect([...paymentMethods].sort()).toEqual([...methods.keys()].sort())
})
