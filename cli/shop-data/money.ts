/**
 * Converts a price such as "15.99" to the currency's minor units (1599 for USD, 16 for a price of
 * "16" in JPY), by text alone: 0.1 has no exact binary fraction, and 1.005 * 100 is
 * 100.49999999999999.
 */
export function minorUnits(text: string, currency: string): { amount: number } | { wrong: string } {
  const match = /^(\d{1,15})(?:\.(\d*))?$/.exec(text)
  if (!match)
    return {
      wrong: text.includes(',')
        ? 'must be a number with a point and no commas'
        : text.startsWith('-')
          ? 'must not be negative'
          : 'must be a number such as 15.99',
    }
  const digits = decimals(currency)
  const fraction = (match[2] ?? '').replace(/0+$/, '')
  if (fraction.length > digits) return { wrong: `has more than the ${digits} decimals of ${currency}` }
  const amount = Number(BigInt(match[1]! + fraction.padEnd(digits, '0')))
  return amount > maxAmount ? { wrong: 'is too large' } : { amount }
}

const maxAmount = 1_000_000_000_000

/** Returns how many decimals a currency has. Throws RangeError for an unknown code. */
export function decimals(currency: string): number {
  if (!Intl.supportedValuesOf('currency').includes(currency))
    throw new RangeError(`${currency} is not an ISO 4217 currency code`)
  return new Intl.NumberFormat('en', { style: 'currency', currency }).resolvedOptions().maximumFractionDigits ?? 2
}
