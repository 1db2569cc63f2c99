// The one table of ports. Every process, test and printed address takes its ports from here.
import { serviceNames, type ServiceName } from './services.ts'

export type ServicePorts = {
  /** gRPC; for the gateway its HTTP API. */
  app: number
  /** HTTP with /livez, /readyz and /metrics. */
  admin: number
  daprGrpc: number
  daprHttp: number
  daprInternal: number
  daprMetrics: number
  /** /metrics of the service's pluggable components, in their order. */
  components: [number, number]
}

export type Ports = {
  api: number
  jaegerQuery: number
  otlp: number
  jaegerMetrics: number
  mongodb: number
  mysql: number
  kafka: number
  kafkaController: number
  sentry: number
  sentryHealth: number
  sentryMetrics: number
  paymentSandbox: number
  services: Record<ServiceName, ServicePorts>
}

/** How many ports a shop takes from its base on. */
export const blockSize = 160

const defaultBase = 21_000

/**
 * Every port of one shop.
 * @param base the block's first port (PORT_BASE). Without it the API and Jaeger have the ports that
 * everyone expects, and the rest a block of its own.
 * @throws RangeError for a base from which the block does not fit.
 */
export function createPorts(base?: number): Ports {
  const from = base ?? defaultBase
  if (!Number.isInteger(from) || from < 1024 || from + blockSize > 65_535) {
    throw new RangeError(`PORT_BASE must be a whole number from 1024 to ${65_535 - blockSize}, not ${base}`)
  }
  const api = base === undefined ? 8080 : from
  const services = Object.fromEntries(
    serviceNames.map((name, index): [ServiceName, ServicePorts] => {
      const block = from + 100 + 10 * index
      return [
        name,
        {
          app: name === 'gateway' ? api : block,
          admin: block + 1,
          daprGrpc: block + 2,
          daprHttp: block + 3,
          daprInternal: block + 4,
          daprMetrics: block + 5,
          components: [block + 6, block + 7],
        },
      ]
    }),
  ) as Record<ServiceName, ServicePorts>
  return {
    api,
    jaegerQuery: base === undefined ? 16_686 : from + 1,
    otlp: from + 2,
    jaegerMetrics: from + 3,
    mongodb: from + 4,
    mysql: from + 5,
    kafka: from + 6,
    kafkaController: from + 7,
    sentry: from + 8,
    sentryHealth: from + 9,
    sentryMetrics: from + 10,
    // +11 is kept free: the supervisor's API is a unix socket, which no web page can reach.
    paymentSandbox: from + 12,
    services,
  }
}

/**
 * PORT_BASE as a number, or undefined when it is not set. @throws RangeError when it is no number.
 */
export function portBase(env: NodeJS.ProcessEnv = process.env): number | undefined {
  const text = env['PORT_BASE']
  if (text === undefined || text === '') return undefined
  if (!/^\d+$/.test(text)) throw new RangeError(`PORT_BASE must be a number, not "${text}"`)
  return Number(text)
}

/** All the ports of a table, flat. */
export function allPorts(ports: Ports): number[] {
  const { services, ...rest } = ports
  const ofServices = Object.values(services).flatMap(({ components, ...own }) => [...Object.values(own), ...components])
  return [...new Set([...Object.values(rest), ...ofServices])]
}
