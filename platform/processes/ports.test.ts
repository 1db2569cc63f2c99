import { describe, expect, test } from 'vitest'
import { allPorts, blockSize, createPorts, portBase } from './ports.ts'

describe('createPorts', () => {
  test('without a base the API and Jaeger have their usual ports', () => {
    const ports = createPorts()
    expect(ports.api).toBe(8080)
    expect(ports.services.gateway.app).toBe(8080)
    expect(ports.jaegerQuery).toBe(16_686)
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
      ...Object.entries(services).flatMap(([name, own]) => [
        ...(name === 'gateway' ? [] : [own.app]),
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
