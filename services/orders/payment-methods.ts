/**
 * The payment methods that orders accepts: what the payment provider's adapter knows, here the
 * tokens of the sandbox (examples/payment-provider), so that a name that nobody can charge is
 * refused when the order is placed and not minutes later. This is the only list of them in orders:
 * with another provider it becomes that provider's pattern of tokens. A card number never matches.
 */
export const paymentMethods: ReadonlySet<string> = new Set([
  'pm_card_visa',
  'pm_card_visa_debit',
  'pm_card_mastercard',
  'pm_card_amex',
  'pm_card_chargeDeclined',
  'pm_card_chargeDeclinedInsufficientFunds',
  'pm_card_chargeDeclinedExpiredCard',
  'pm_sandbox_slow',
  'pm_sandbox_error',
  'pm_sandbox_lostAnswer',
])
