import { Metadata } from '@grpc/grpc-js'
import { context, propagation, SpanStatusCode, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { W3CTraceContextPropagator } from '@opentelemetry/core'
import { InMemorySpanExporter, SimpleSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace'
import { beforeAll, expect, it } from 'vitest'
import { contextOfHeaders, contextOfMetadata, traceparent, traceparentOfBinary, withSpan } from './telemetry.ts'

const traceId = '0af7651916cd43dd8448eb211c80319c'
const binary = Buffer.from(`0000${traceId}01b7ad6b71692033310201`, 'hex')

const exporter = new InMemorySpanExporter()
beforeAll(() => {
  propagation.setGlobalPropagator(new W3CTraceContextPropagator())
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
  trace.setGlobalTracerProvider(new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter })] }))
})

it('reads the binary trace header', () => {
  expect(traceparentOfBinary(binary)).toBe(`00-${traceId}-b7ad6b7169203331-01`)
})

it.each(['', '00', binary.toString('hex').replace(/^00/, '01')])('reads no trace from %j', (hex) => {
  expect(traceparentOfBinary(Buffer.from(hex, 'hex'))).toBeUndefined()
})

it("of two traceparents, the caller's and the one its sidecar appended, takes the last", () => {
  const metadata = new Metadata()
  metadata.add('traceparent', `00-${traceId}-1111111111111111-01, 00-${traceId}-2222222222222222-01`)
  expect(trace.getSpanContext(contextOfMetadata(metadata))?.spanId).toBe('2222222222222222')
})

it('prefers the binary header', () => {
  const metadata = new Metadata()
  metadata.add('traceparent', `00-${traceId}-1111111111111111-01`)
  metadata.set('grpc-trace-bin', binary)
  expect(trace.getSpanContext(contextOfMetadata(metadata))?.spanId).toBe('b7ad6b7169203331')
})

it('within a trace that is not sampled there is no new span, and what is called learns it', async () => {
  const parent = contextOfHeaders({ traceparent: `00-${traceId}-1111111111111111-00` })
  await withSpan('call', { parent }, async (span) => {
    expect(span.isRecording()).toBe(false)
    expect(traceparent()).toBe(`00-${traceId}-1111111111111111-00`)
    await withSpan('inner', {}, async () => expect(traceparent()).toBe(`00-${traceId}-1111111111111111-00`))
  })
})

it('within a sampled trace each piece of work has a span, with its error', async () => {
  const parent = contextOfHeaders({ traceparent: `00-${traceId}-1111111111111111-01` })
  const failing = withSpan('call', { parent }, async () => {
    expect(traceparent()).toMatch(new RegExp(`^00-${traceId}-(?!1111111111111111)[0-9a-f]{16}-01$`))
    throw new Error('no')
  })
  await expect(failing).rejects.toThrow('no')
  const [span] = exporter.getFinishedSpans()
  expect(span).toMatchObject({ name: 'call', status: { code: SpanStatusCode.ERROR, message: 'no' } })
  expect(span?.spanContext().traceId).toBe(traceId)
})
