import { Metadata } from '@grpc/grpc-js'
import { propagation, trace } from '@opentelemetry/api'
import { W3CTraceContextPropagator } from '@opentelemetry/core'
import { beforeAll, expect, it } from 'vitest'
import { contextOfMetadata, traceparentOfBinary } from './telemetry.ts'

const traceId = '0af7651916cd43dd8448eb211c80319c'
const binary = Buffer.from(`0000${traceId}01b7ad6b71692033310201`, 'hex')

beforeAll(() => void propagation.setGlobalPropagator(new W3CTraceContextPropagator()))

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
