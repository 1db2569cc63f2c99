import { Metadata } from '@grpc/grpc-js'
import { pino } from 'pino'
import { describe, expect, test } from 'vitest'
import type { Call } from '#lib/grpc-server.ts'
import type { ListOrdersRequest, PlaceOrderRequest } from '#protos/shop/orders/v1/orders.ts'
import { createOrdersHandlers } from './grpc.ts'

// What is refused first, before the store or another service is called.

const untouchable = <T>(name: string) =>
  new Proxy({}, { get: (_, method) => () => Promise.reject(new Error(`${name}.${String(method)} was called`)) }) as T
const handlers: Record<string, (request: never, call: Call) => Promise<unknown>> = createOrdersHandlers({
  store: untouchable('store'),
  users: untouchable('users'),
  catalog: untouchable('catalog'),
  busy: untouchable('busy'),
  timeouts: { stockMs: 900_000, paymentMs: 600_000 },
  now: () => new Date(),
})
const call: Call = { callerAppId: 'gateway', log: pino({ level: 'silent' }), metadata: new Metadata() }
const rpc = (name: string, request: object) => handlers[name]!(request as never, call)

const good: PlaceOrderRequest = {
  userId: 'u-1',
  idempotencyKey: 'k',
  lines: [{ sku: 'a', quantity: 1 }],
  paymentMethod: 'pm_card_visa',
  expectedTotal: undefined,
}
const line = (sku: string, quantity = 1) => ({ sku, quantity })

describe('placeOrder refuses', () => {
  test.each<[string, string[], Partial<PlaceOrderRequest>]>([
    ['no lines', ['lines'], { lines: [] }],
    ['101 lines', ['lines'], { lines: Array.from({ length: 101 }, (_, i) => line(`a${i}`)) }],
    ['no SKU', ['lines.0.sku'], { lines: [line('')] }],
    ['a SKU in two lines', ['lines.1.sku'], { lines: [line('a'), line('a')] }],
    ['one SKU in two spellings', ['lines.1.sku'], { lines: [line('caf\u00e9'), line(' cafe\u0301 ')] }],
    ['a SKU with a control character', ['lines.0.sku'], { lines: [line('a\0')] }],
    [
      'quantities out of range',
      ['lines.0.quantity', 'lines.1.quantity', 'lines.2.quantity'],
      { lines: [line('a', 0), line('b', -1), line('c', 1_001)] },
    ],
    ['no idempotency key', ['Idempotency-Key'], { idempotencyKey: '' }],
    ['a long idempotency key', ['Idempotency-Key'], { idempotencyKey: 'k'.repeat(256) }],
    ['no payment method', ['payment.method'], { paymentMethod: '' }],
    ['a user id that would be another key', ['userId'], { userId: 'u-1}:x' }],
  ])('%s, naming the field', async (_, fields, wrong) => {
    await expect(rpc('placeOrder', { ...good, ...wrong })).rejects.toMatchObject({
      kind: 'invalid',
      fields: fields.map((field) => ({ field })),
    })
  })
})

describe('listOrders refuses', () => {
  const list = (wrong: Partial<ListOrdersRequest>) =>
    rpc('listOrders', { userId: 'u-1', limit: 10, cursor: '', ...wrong })
  test.each([0, -1, 101])('limit %d', async (limit) => {
    await expect(list({ limit })).rejects.toMatchObject({ kind: 'invalid', fields: [{ field: 'limit' }] })
  })
  const position = `2026-01-02T03:04:05.678Z:o-${'a'.repeat(26)}`
  test.each([
    'x',
    '🏺',
    `${btoa(position)}=`,
    `${btoa(position)}\n`,
    btoa(`${position}a`),
    btoa(position.replace('o-', 'x-')),
    btoa(position.replace('2026', '~')),
    btoa('1:0'),
    'A'.repeat(10_000),
  ])('the cursor %j', async (cursor) => {
    await expect(list({ cursor })).rejects.toMatchObject({ kind: 'invalid', code: 'bad_cursor' })
  })
})

test.each(['getOrder', 'cancelOrder'])('%s finds no order by an id that no order can have', async (method) => {
  for (const orderId of ['', 'o-1', 'o-||', `o-${'A'.repeat(26)}`])
    await expect(rpc(method, { userId: 'u-1', orderId })).rejects.toMatchObject({
      kind: 'not_found',
      code: 'order_not_found',
    })
})
