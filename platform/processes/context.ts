import type { Servers } from '../parts/ensure.ts'
import type { Paths } from './paths.ts'
import type { Ports } from './ports.ts'
import type { Secrets } from './secrets.ts'
import type { ServiceName } from './services.ts'

/** What the description of the processes follows from. */
export type Context = {
  ports: Ports
  paths: Paths
  secrets: Secrets
  servers: Partial<Servers>
  /** Jaeger is still to be built: it joins the shop later. */
  jaegerIsMissing: boolean
  /** Services with a second replica, in tests. */
  replicas?: ServiceName[] | undefined
  /** Class archive for Kafka's JVM. */
  kafkaArchive?: string | undefined
  /** PEM of the certificate authority that sentry created. */
  trustAnchors: string
  /** The environment of `npm start`. */
  env: NodeJS.ProcessEnv
}
