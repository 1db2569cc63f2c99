/**
 * What a payment method's token makes the sandbox do. `pm_card_*` are Stripe's test tokens
 * (docs.stripe.com/testing), `pm_sandbox_*` exist only here.
 */
export type Behaviour =
  | { kind: 'succeed' }
  | { kind: 'decline'; code: string; declineCode: string; message: string }
  /** The shopper would have to authenticate. */
  | { kind: 'require-action' }
  /** Charges at once and responds late. */
  | { kind: 'slow'; answerAfterMs: number }
  /** Responds at once that it is processing, and has charged after a while. */
  | { kind: 'process'; chargedAfterMs: number }
  /** Returns 500, without a charge, for the first `times` requests with an idempotency key. */
  | { kind: 'fail-first'; times: number }
  /**
   * Returns 500 to the first idempotency key of an order, and the same to each repeat, whether or
   * not it `charges`. With another key it charges.
   */
  | { kind: 'store-failure'; charges: boolean }
  /** Charges and drops the connection; a repeat with the same idempotency key gets the response. */
  | { kind: 'lose-answer' }

const decline = (code: string, declineCode: string, message: string): Behaviour => ({
  kind: 'decline',
  code,
  declineCode,
  message,
})
const succeed: Behaviour = { kind: 'succeed' }

export const methods: ReadonlyMap<string, Behaviour> = new Map<string, Behaviour>([
  ['pm_card_visa', succeed],
  ['pm_card_visa_debit', succeed],
  ['pm_card_mastercard', succeed],
  ['pm_card_amex', succeed],
  ['pm_card_chargeDeclined', decline('card_declined', 'generic_decline', 'Your card was declined.')],
  [
    'pm_card_chargeDeclinedInsufficientFunds',
    decline('card_declined', 'insufficient_funds', 'Your card has insufficient funds.'),
  ],
  ['pm_card_chargeDeclinedExpiredCard', decline('expired_card', 'expired_card', 'Your card has expired.')],
  ['pm_card_authenticationRequired', { kind: 'require-action' }],
  ['pm_sandbox_slow', { kind: 'slow', answerAfterMs: 5_000 }],
  ['pm_sandbox_processing', { kind: 'process', chargedAfterMs: 2_000 }],
  ['pm_sandbox_error', { kind: 'fail-first', times: 2 }],
  ['pm_sandbox_storedError', { kind: 'store-failure', charges: false }],
  ['pm_sandbox_chargedError', { kind: 'store-failure', charges: true }],
  ['pm_sandbox_lostAnswer', { kind: 'lose-answer' }],
])
