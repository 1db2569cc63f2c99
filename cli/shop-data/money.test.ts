import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { minorUnits } from './money.ts'

test.each([
  ['9.99', 'USD', 999],
  ['500', 'USD', 50_000],
  ['0.1', 'USD', 10],
  ['1.10000', 'USD', 110],
  ['16', 'JPY', 16],
  ['16.00', 'JPY', 16],
  ['1.234', 'KWD', 1234],
  ['007', 'USD', 700],
  ['5.', 'USD', 500],
])('%s %s is %i', (text, currency, amount) => {
  expect(minorUnits(text, currency)).toEqual({ amount })
})

test.each(['', '-1', '1e3', '1,50', '$5', 'free', '0x10', '1.005', '1 000', '99999999999999999', '٣'])(
  '%j is no price',
  (text) => {
    expect(minorUnits(text, 'USD')).toHaveProperty('wrong')
  },
)

test('no amount loses a cent', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 1_000_000_000_000 }), (amount) => {
      const text = `${Math.floor(amount / 100)}.${String(amount % 100).padStart(2, '0')}`
      expect(minorUnits(text, 'USD')).toEqual({ amount })
    }),
  )
})
