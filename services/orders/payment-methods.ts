/**
 * The payment methods that an order may name: the tokens of the sandbox provider
 * (examples/payment-provider). One that cannot be charged is refused when the order is placed, not
 * minutes later. For another provider, replace this list by that provider's pattern of tokens. A
 * card number never matches.
 */
export const paymentMethods: ReadonlySet<string> = new Set([
  'pm_card_visa',
  'pm_card_visa_debit',
  'pm_card_mastercard',
  'pm_card_amex',
  'pm_card_chargeDeclined',
  'pm_card_chargeDeclinedInsufficientFunds',
  'pm_card_chargeDeclinedExpiredCard',
  'pm_card_authenticationRequired',
  'pm_sandbox_slow',
  'pm_sandbox_processing',
  'pm_sandbox_error',
  'pm_sandbox_storedError',
  'pm_sandbox_chargedError',
  'pm_sandbox_lostAnswer',
])
