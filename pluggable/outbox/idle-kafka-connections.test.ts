import { createRequire } from 'node:module'
import { beforeEach, afterEach, expect, test, vi } from 'vitest'
import { letIdleConnectionsSleep } from './idle-kafka-connections.ts'

letIdleConnectionsSleep()
letIdleConnectionsSleep()

type Queue = {
  push(request: { entry: object; expectResponse: boolean; sendRequest: () => void }): void
  fulfillRequest(response: { correlationId: number; payload: object; size: number }): void
  maybeThrottle(milliseconds: number): void
}
const RequestQueue = createRequire(import.meta.url)('kafkajs/src/network/requestQueue/index.js') as new (
  options: object,
) => Queue

const ignore = () => {}
const logger = { debug: ignore, warn: ignore, info: ignore, error: ignore }
const sent: number[] = []
const queue = () =>
  new RequestQueue({ maxInFlightRequests: 1, requestTimeout: 1_000, broker: 'b', clientId: 'c', logger })
const request = (correlationId: number) => ({
  entry: { correlationId, resolve: ignore, reject: ignore, apiKey: 0, apiName: 'x', apiVersion: 0 },
  expectResponse: true,
  sendRequest: () => sent.push(correlationId),
})

beforeEach(() => {
  vi.useFakeTimers()
  sent.length = 0
})
afterEach(() => vi.useRealTimers())

test('a connection whose requests are answered has no timer', () => {
  const requests = queue()
  requests.push(request(1))
  requests.push(request(2))
  for (const correlationId of [1, 2]) requests.fulfillRequest({ correlationId, payload: {}, size: 1 })
  vi.advanceTimersByTime(100)
  expect({ sent, timers: vi.getTimerCount() }).toEqual({ sent: [1, 2], timers: 0 })
})

test('a request that the broker has asked to hold back is sent when the time is over', () => {
  const requests = queue()
  requests.maybeThrottle(500)
  requests.push(request(1))
  vi.advanceTimersByTime(400)
  expect(sent).toEqual([])
  vi.advanceTimersByTime(200)
  expect(sent).toEqual([1])
  requests.fulfillRequest({ correlationId: 1, payload: {}, size: 1 })
  vi.advanceTimersByTime(100)
  expect(vi.getTimerCount()).toBe(0)
})
