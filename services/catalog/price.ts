import * as z from 'zod'
import { invalidFields, type FieldError } from '#lib/errors.ts'

/** `amount` is in the currency's minor unit. */
export const moneySchema = z.object({ amount: z.number(), currency: z.string() })
export type Money = z.infer<typeof moneySchema>

const maxAmount = 10 ** 12
const currencies = new Set(Intl.supportedValuesOf('currency'))

/**
 * Returns what is wrong with a price, by the fields `field`, `field.amount` and `field.currency`.
 */
export function priceProblems(field: string, price: Money | undefined): FieldError[] {
  if (!price) return [{ field, message: 'is required' }]
  const problems: FieldError[] = []
  const { amount, currency } = price
  if (!Number.isInteger(amount) || amount < 0 || amount > maxAmount)
    problems.push({ field: `${field}.amount`, message: `must be 0 to ${maxAmount} in the currency's minor unit` })
  if (!currencies.has(currency))
    problems.push({ field: `${field}.currency`, message: 'must be an ISO 4217 code such as USD' })
  return problems
}

/** Checks a price. Throws `invalid` naming `price`, `price.amount` or `price.currency`. */
export function parsePrice(price: Money | undefined): Money {
  const problems = priceProblems('price', price)
  if (!price || problems.length > 0) throw invalidFields(problems)
  return { amount: price.amount, currency: price.currency }
}
