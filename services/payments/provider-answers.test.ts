import { describe, expect, test } from 'vitest'
import {
  chargeAnswers,
  readCharge,
  readChargesFound,
  readRefund,
  readRefundsFound,
  refundAnswers,
  type Answer,
} from './provider-answers.ts'

const failed = (status: number, error: Record<string, string> = { type: 'api_error' }): Answer => ({
  status,
  body: { error },
})
const breaker = (err: string) => ({
  status: 500,
  body: { errorCode: 'ERR_DIRECT_INVOKE', message: `failed to invoke, id: payment-provider, err: ${err}` },
})
const intent = (status: string, more: object = {}): Answer => ({ status: 200, body: { id: 'pi_1', status, ...more } })
const refund = (status: string): Answer => ({ status: 200, body: { id: 're_1', status } })
const declined = (code: string, declineCode?: string) =>
  failed(402, { type: 'card_error', code, ...(declineCode !== undefined && { decline_code: declineCode }) })

const later = { outcome: 'later', error: false }
const ours = { outcome: 'ours' }
const done = (providerId: string) => ({ outcome: 'done', providerId })
const no = (reason: string) => ({ outcome: 'declined', reason })

type Case = [row: string, answer: Answer, result: object]
const common: Case[] = [
  ['no answer', { status: 0, body: undefined }, later],
  ['the circuit breaker is open', breaker('circuit breaker is open'), { outcome: 'not_sent' }],
  ['the circuit breaker is open', breaker('too many requests'), { outcome: 'not_sent' }],
  ['wrong key (401)', failed(401), ours],
  ['not allowed (403)', failed(403), ours],
  ['the same key is in use (409)', failed(409), later],
  ['too many requests (429)', failed(429), later],
  ['error of the provider (5xx)', failed(500), { ...later, error: true }],
  ['error of the provider (5xx)', breaker('connection refused'), { ...later, error: true }],
  ['error of the provider (5xx)', { status: 503, body: '<html>' }, { ...later, error: true }],
  ['a wrong request (4xx)', failed(400, { type: 'invalid_request_error', param: 'amount' }), ours],
  ['a wrong request (4xx)', failed(400, { type: 'idempotency_error' }), ours],
  ['a wrong request (4xx)', failed(404), ours],
  ['anything else', { status: 302, body: '' }, later],
  ['anything else', { status: 200, body: '<html>' }, later],
]
const ofCharges: Case[] = [
  ['succeeded', intent('succeeded'), done('pi_1')],
  ['processing', intent('processing'), later],
  ['needs the shopper', intent('requires_action'), no('authentication_required')],
  [
    'declined before',
    intent('requires_payment_method', {
      last_payment_error: { code: 'card_declined', decline_code: 'insufficient_funds' },
    }),
    no('insufficient_funds'),
  ],
  ['cancelled at the provider', intent('canceled'), no('payment_cancelled')],
  ['declined by the bank (402)', declined('card_declined', 'generic_decline'), no('card_declined')],
  ['declined by the bank (402)', declined('card_declined', 'insufficient_funds'), no('insufficient_funds')],
  ['declined by the bank (402)', declined('expired_card', 'expired_card'), no('expired_card')],
  ['declined by the bank (402)', declined('incorrect_cvc'), no('incorrect_cvc')],
  ['declined by the bank (402)', declined('authentication_required'), no('authentication_required')],
  ['declined by the bank (402)', declined('card_declined', 'try_again_later'), no('try_again_later')],
  [
    'unknown payment method (400)',
    failed(400, { type: 'invalid_request_error', code: 'resource_missing', param: 'payment_method' }),
    no('payment_refused'),
  ],
  ['anything else', intent('requires_capture'), later],
  ...common,
]
const ofRefunds: Case[] = [
  ['made, or on its way to the bank', refund('succeeded'), done('re_1')],
  ['made, or on its way to the bank', refund('pending'), done('re_1')],
  ['the bank refuses it', refund('failed'), ours],
  ['refunded before, by hand', failed(400, { code: 'charge_already_refunded' }), done('')],
  ['a wrong request (4xx)', failed(402), ours],
  ...common,
]

describe('the answer to a charge', () => {
  test.each(ofCharges)('%s: %j', (answer, given, result) => {
    expect(readCharge(given)).toEqual({ ...result, answer })
  })
  test('every row is tested', () => {
    expect(new Set(ofCharges.map(([row]) => row))).toEqual(new Set(chargeAnswers.map(({ name }) => name)))
  })
})

describe('the answer to a refund', () => {
  test.each(ofRefunds)('%s: %j', (answer, given, result) => {
    expect(readRefund(given)).toEqual({ ...result, answer })
  })
  test('every row is tested', () => {
    expect(new Set(ofRefunds.map(([row]) => row))).toEqual(new Set(refundAnswers.map(({ name }) => name)))
  })
})

describe('the answer to a search', () => {
  const found = (...intents: Answer[]): Answer => ({ status: 200, body: { data: intents.map(({ body }) => body) } })
  test.each([
    ['nothing', found(), { outcome: 'absent' }],
    ['one that succeeded, after one that did not', found(intent('canceled'), intent('succeeded')), done('pi_1')],
    ['one that is undecided', found(intent('canceled'), intent('processing')), later],
    ['one that was declined', found(intent('requires_payment_method')), no('card_declined')],
    ['an error', failed(500), later],
    ['no answer', { status: 0, body: undefined }, later],
    ['something else', { status: 200, body: { object: 'page' } }, later],
    ['a wrong key', failed(401), ours],
    ['an open breaker', breaker('circuit breaker is open'), { outcome: 'not_sent' }],
    ['what only a charge can be', failed(402), later],
  ])('that finds %s', (_, answer, result) => {
    expect(readChargesFound(answer)).toMatchObject(result)
  })

  test('for refunds goes by their id', () => {
    const refunds = [{ id: 're_1', status: 'succeeded', metadata: { refund_id: 'r-1' } }]
    const answer = { status: 200, body: { data: refunds } }
    expect(readRefundsFound(answer, 'r-1')).toMatchObject(done('re_1'))
    expect(readRefundsFound(answer, 'r-2')).toMatchObject({ outcome: 'absent' })
    expect(readRefundsFound(failed(500), 'r-1')).toMatchObject(later)
    expect(readRefundsFound({ status: 200, body: '' }, 'r-1')).toMatchObject(later)
  })
})
