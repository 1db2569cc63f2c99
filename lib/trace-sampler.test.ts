import { ROOT_CONTEXT, SamplingDecision, SpanKind, trace, type Context } from '@opentelemetry/api'
import { expect, it } from 'vitest'
import { createTraceSampler } from './trace-sampler.ts'

const traceId = '0af7651916cd43dd8448eb211c80319c'
const parent = (traceFlags: number, isRemote: boolean) =>
  trace.setSpanContext(ROOT_CONTEXT, { traceId, spanId: 'b7ad6b7169203331', traceFlags, isRemote })

/** A sampler with a clock to set. */
function sampler(perSecond: number, options: { limitCallers?: boolean } = {}) {
  let ms = 0
  const { shouldSample } = createTraceSampler(perSecond, { ...options, now: () => ms })
  const takes = (context: Context) =>
    shouldSample(context, traceId, 'work', SpanKind.SERVER, {}, []).decision === SamplingDecision.RECORD_AND_SAMPLED
  const taken = (count: number, context = ROOT_CONTEXT) =>
    Array.from({ length: count }, () => takes(context)).filter(Boolean).length
  return { taken, pass: (more: number) => void (ms += more) }
}

it('takes new traces up to its rate, however they are spread', () => {
  const { taken, pass } = sampler(20)
  expect(taken(100)).toBe(20)
  pass(500)
  expect(taken(100)).toBe(10)
  pass(60_000)
  expect(taken(100)).toBe(20)
  let spread = 0
  for (let i = 0; i < 1_000; i++) {
    pass(10)
    spread += taken(1)
  }
  expect(spread).toBeGreaterThanOrEqual(199)
  expect(spread).toBeLessThanOrEqual(200)
})

it('waits until a whole trace is due', () => {
  const { taken, pass } = sampler(1)
  expect(taken(2)).toBe(1)
  pass(999)
  expect(taken(1)).toBe(0)
  pass(1)
  expect(taken(2)).toBe(1)
})

it('takes all at an infinite rate', () => {
  expect(sampler(Infinity).taken(1_000)).toBe(1_000)
})

it('takes none at a rate of 0', () => {
  const { taken, pass } = sampler(0)
  pass(1_000_000)
  expect(taken(10)).toBe(0)
})

it("follows the parent's decision, which costs nothing of the rate", () => {
  const { taken } = sampler(2)
  expect(taken(10, parent(1, true))).toBe(10)
  expect(taken(10, parent(0, true))).toBe(0)
  expect(taken(10)).toBe(2)
})

it('takes as many of the traces that strangers want, whatever else goes on, and all spans within them', () => {
  const { taken } = sampler(2, { limitCallers: true })
  expect(taken(10)).toBe(2)
  expect(taken(10, parent(1, true))).toBe(2)
  expect(taken(10, parent(1, false))).toBe(10)
  expect(taken(10, parent(0, true))).toBe(0)
})
