// One process, as the supervisor and `npm run status` see it.

export type Kind = 'service' | 'sidecar' | 'component' | 'server' | 'task'

export type Health =
  | { http: { port: number; path: string; status: number } }
  /** The port accepts connections. */
  | { tcp: number }

export type Process = {
  name: string
  kind: Kind
  command: string[]
  env: Record<string, string>
  cwd: string
  ports: number[]
  health?: Health
  /**
   * What must be healthy, or (a task) done, before it is started. It is stopped before all of
   * these.
   */
  waitsFor: { healthy?: string[]; done?: string[] }
  /**
   * What it is stopped before, without waiting for it at the start: a sidecar leaves its consumer
   * group while Kafka is up, and hands over its last spans while Jaeger is.
   */
  stopsBefore: string[]
  /** Starts only on request, not with the others. */
  startsLater?: boolean
  /** A task that is run once, however it ends. */
  runsOnce?: boolean
  /** Asks it to end; SIGTERM unless given. */
  stopSignal?: NodeJS.Signals
  /** How long it may take to end before it is killed. */
  stopSeconds: number
}
