import { expect, test } from 'vitest'
import { renderWaterfall, type Span } from './waterfall.ts'

const span = (id: string, more: Partial<Span> = {}): Span => ({
  id,
  service: 'orders',
  call: `call-${id}`,
  startMs: 1_000,
  durationMs: 10,
  ...more,
})

const render = (spans: Span[], width = 100) => renderWaterfall(spans, { width, colour: false }).split('\n')

test('children are below their parent, indented, in the order of their start', () => {
  const [, ...lines] = render([
    span('c', { parentId: 'a', startMs: 1_006, durationMs: 2 }),
    span('b', { parentId: 'a', startMs: 1_002, durationMs: 2 }),
    span('d', { parentId: 'b', startMs: 1_003, durationMs: 1 }),
    span('a', { service: 'gateway' }),
  ])
  expect(lines.slice(0, 4).map((line) => line.slice(0, 22).trimEnd())).toEqual([
    'gateway call-a',
    'orders   call-b',
    'orders    call-d',
    'orders   call-c',
  ])
  expect(lines[4]).toBe('4 spans, 2 processes, 10.0 ms, no errors')
})

test('start and length are in milliseconds, and the bar is to scale', () => {
  const [, root, child] = render([
    span('a', { durationMs: 100 }),
    span('b', { parentId: 'a', startMs: 1_050, durationMs: 50 }),
  ])
  expect(root).toMatch(/ 0\.0 +100\.0 █+$/)
  expect(child).toMatch(/ 50\.0 +50\.0 +█+$/)
  const blocks = (line = '') => line.split('█').length - 1
  expect(blocks(child)).toBe(Math.round(blocks(root) / 2))
  expect(root!.length).toBe(child!.length)
})

test('an error is marked in text, below its span', () => {
  const lines = render([span('a', { error: 'card_declined' })])
  expect(lines[2]).toContain('✘ card_declined')
  expect(lines.at(-1)).toContain('1 error')
})

test('adjacent calls that are alike share a row; failed ones and parents keep theirs', () => {
  const read = { parentId: 'a', call: 'GetState', durationMs: 1 }
  const lines = render([
    span('a'),
    span('b', { ...read, startMs: 1_001 }),
    span('c', { ...read, startMs: 1_003 }),
    span('d', { ...read, startMs: 1_005, error: 'unavailable' }),
    span('e', { ...read, startMs: 1_006 }),
    span('f', { parentId: 'e', startMs: 1_006, durationMs: 1 }),
  ])
  expect(lines.filter((line) => line.includes('GetState')).map((line) => /GetState( ×\d)?/.exec(line)![0])).toEqual([
    'GetState ×2',
    'GetState',
    'GetState',
  ])
})

test('a span whose parent has not arrived is shown as a root', () => {
  expect(render([span('a', { parentId: 'lost' })])[1]).toMatch(/^orders +call-a/)
})

test('an RPC is shown without its package', () => {
  const calls = ['shop.orders.v1.OrdersService/PlaceOrder', '/dapr.proto.runtime.v1.Dapr/GetState', 'POST /v1/orders']
  const lines = render(calls.map((call, i) => span(String(i), { call })))
  expect(lines.slice(1, 4).map((line) => line.slice(8, 34).trim())).toEqual([
    'OrdersService/PlaceOrder',
    'Dapr/GetState',
    'POST /v1/orders',
  ])
})

test.each([60, 80, 200])('no line is wider than %d columns', (width) => {
  const call = 'OrdersService/PlaceOrder'
  const lines = render(
    [span('a', { call }), span('b', { parentId: 'a', call: call.repeat(4), error: 'x'.repeat(300) })],
    width,
  )
  for (const line of lines) expect(line.length).toBeLessThanOrEqual(width)
})

test.each([60, 80, 120])('at %d columns a deep error keeps its mark and the width, whatever the names', (width) => {
  const chain = Array.from({ length: 27 }, (_, i) =>
    span(String(i), {
      service: 'inventory-outbox-mysql',
      call: 'shop.orders.v1.OrdersService/PlaceOrder',
      ...(i > 0 ? { parentId: String(i - 1) } : {}),
      ...(i === 26 ? { error: `unavailable: ${'x'.repeat(300)}` } : {}),
    }),
  )
  const lines = render(chain, width)
  for (const line of lines) expect(line.length).toBeLessThanOrEqual(width)
  expect(lines.filter((line) => /✘ unavail/.test(line))).toHaveLength(1)
})

test('line ends and escape sequences in names and errors do not reach the terminal', () => {
  const [, row, error, ...rest] = render([span('a', { call: 'a\nb', error: 'first\r\nsecond\u001b[31m\tthird' })])
  expect(row).toMatch(/^orders +a b /)
  expect(error).toMatch(/✘ first second \[31m third$/)
  expect(rest).toHaveLength(1)
})

test('colours only when asked for', () => {
  const spans = [span('a', { error: 'no' })]
  expect(renderWaterfall(spans, { width: 80, colour: false })).not.toContain('\u001b[')
  expect(renderWaterfall(spans, { width: 80, colour: true })).toContain('\u001b[')
})
