import { describe, expect, test } from 'vitest'
import { allPorts, blockSize, createPorts, portBase } from './ports.ts'

describe('createPorts', () => {
  test('without a base the API and Jaeger have their usual ports', () => {
    const ports = createPorts()
    expect(ports.api).toBe(8080)
    expect(ports.jaegerQuery).toBe(16_686)
  })

  test('the gateway has the port of the API where there is no edge, and else its own', () => {
    expect(createPorts(30_000, { edge: false }).services.gateway.app).toBe(30_000)
    const { api, services } = createPorts(30_000, { edge: true })
    expect([api, services.gateway.app]).toEqual([30_000, 30_100])
  })

  test('with a base every port is in its block', () => {
    const flat = allPorts(createPorts(30_000))
    expect(Math.min(...flat)).toBe(30_000)
    expect(Math.max(...flat)).toBeLessThan(30_000 + blockSize)
    expect(allPorts(createPorts(40_000))).toEqual(flat.map((port) => port + 10_000))
  })

  test('no port is used twice', () => {
    const { services, ...rest } = createPorts()
    const given = [
      ...Object.values(rest),
      ...Object.values(services).flatMap((own) => [
        own.app,
        own.admin,
        own.daprGrpc,
        own.daprHttp,
        own.daprInternal,
        own.daprMetrics,
        ...own.components,
      ]),
    ]
    expect(new Set(given).size).toBe(given.length)
  })

  test('a base whose block does not fit is refused', () => {
    expect(() => createPorts(65_500)).toThrow(RangeError)
    expect(() => portBase({ PORT_BASE: '21k' })).toThrow(RangeError)
  })
})
