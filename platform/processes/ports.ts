// The one table of ports. Every process, test and printed address takes its ports from here.
import { serviceNames, type ServiceName } from './services.ts'

export type ServicePorts = {
  /** gRPC; the gateway's is HTTP. */
  app: number
  /** HTTP with /livez, /readyz and /metrics. */
  admin: number
  daprGrpc: number
  daprHttp: number
  daprInternal: number
  daprMetrics: number
  /** /metrics of the service's pluggable components, in order. */
  components: [number, number, number]
}

export type Ports = {
  /** The HTTP API: the edge's port, or the gateway's where there is no edge. */
  api: number
  /** The edge's server that fills its cache. */
  edgeFiller: number
  jaegerQuery: number
  otlp: number
  jaegerMetrics: number
  mongodb: number
  mysql: number
  kafka: number
  kafkaController: number
  opensearch: number
  opensearchTransport: number
  sentry: number
  sentryHealth: number
  sentryMetrics: number
  paymentSandbox: number
  /** Its page too. */
  mailbox: number
  services: Record<ServiceName, ServicePorts>
}

/** How many ports a shop takes, from its base on. */
export const blockSize = 200

const defaultBase = 21_000

/**
 * Returns every port of one shop.
 * @param base the block's first port (PORT_BASE). Without it the API and Jaeger have their usual
 * ports, and the rest the default block.
 * @param edge whether an edge stands in front of the gateway, and has its port
 * @throws RangeError for a base from which the block does not fit
 */
export function createPorts(base?: number, { edge = true }: { edge?: boolean } = {}): Ports {
  const from = base ?? defaultBase
  if (!Number.isInteger(from) || from < 1024 || from + blockSize > 65_535) {
    throw new RangeError(`PORT_BASE must be 1024 to ${65_535 - blockSize}, not ${base}`)
  }
  const api = base === undefined ? 8080 : from
  const services = Object.fromEntries(
    serviceNames.map((name, index): [ServiceName, ServicePorts] => {
      const block = from + 100 + 10 * index
      return [
        name,
        {
          app: name === 'gateway' && !edge ? api : block,
          admin: block + 1,
          daprGrpc: block + 2,
          daprHttp: block + 3,
          daprInternal: block + 4,
          daprMetrics: block + 5,
          components: [block + 6, block + 7, block + 8],
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
    // The supervisor's API is a Unix socket, which no web page can reach.
    edgeFiller: from + 11,
    paymentSandbox: from + 12,
    opensearch: from + 13,
    opensearchTransport: from + 14,
    mailbox: from + 15,
    services,
  }
}

/** Returns PORT_BASE, or undefined if it is not set. @throws RangeError when it is not a number */
export function portBase(env: NodeJS.ProcessEnv = process.env): number | undefined {
  const text = env['PORT_BASE']
  if (text === undefined || text === '') return undefined
  if (!/^\d+$/.test(text)) throw new RangeError(`PORT_BASE must be a number, not "${text}"`)
  return Number(text)
}

/** Returns the ports of a second replica, in the part of the block that is free. */
export function replicaPorts({ components, ...own }: ServicePorts): ServicePorts {
  const shifted = Object.fromEntries(Object.entries(own).map(([name, port]) => [name, port - 80]))
  return { ...(shifted as typeof own), components: [components[0] - 80, components[1] - 80, components[2] - 80] }
}

/** Returns all ports of a table as one list, those of second replicas included. */
export function allPorts(ports: Ports): number[] {
  const { services, ...rest } = ports
  const ofServices = Object.entries(services)
    // The gateway has no second replica: its port may be the API's.
    .flatMap(([name, own]) => (name === 'gateway' ? [own] : [own, replicaPorts(own)]))
    .flatMap(({ components, ...own }) => [...Object.values(own), ...components])
  return [...new Set([...Object.values(rest), ...ofServices])]
}
