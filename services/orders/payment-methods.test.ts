import { expect, test } from 'vitest'
import { methods } from '../../examples/payment-provider/methods.ts'
import { paymentMethods } from './payment-methods.ts'

test('orders accepts exactly the methods that the provider knows', () => {
  expect([...paymentMethods].sort()).toEqual([...methods.keys()].sort())
})
