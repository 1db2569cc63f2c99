import type { Logger } from '#lib/logger.ts'
import { firstOf, withoutGaps } from './relay-batch.ts'
import { createLeaseKeeper, type LeaseOptions } from './relay-lease.ts'
import { createPacing, type PacingOptions } from './relay-pacing.ts'
import type { OutboxRow, RelaySource, Watch } from './relay-source.ts'

/** `topic` is set if it is not the Component's. */
export type PublishedRow = { partitionKey: string; topic?: string; payload: Buffer }

export type Publisher = {
  /** Resolves once all in-sync replicas have all rows; rejects within its own time limit. */
  publish(rows: PublishedRow[]): Promise<void>
  close(): Promise<void>
}

/** What the relay was doing when it failed. All steps but `publish` are the database's. */
export type RelayStep = 'lease' | 'read' | 'publish' | 'remove'

export type RelayMetrics = {
  /**
   * Counts rows that were acknowledged and deleted: how long after its write each was acknowledged,
   * in milliseconds, where that is known.
   */
  relayed(waitedMs: (number | undefined)[]): void
  failed(step: RelayStep): void
  leader(isLeader: boolean): void
}

export type RelayOptions = LeaseOptions &
  PacingOptions & {
    /**
     * The most rows and bytes of one send. kafkajs makes one batch of everything for a partition,
     * and brokers refuse one above 1,048,588 bytes by default.
     */
    batchRows: number
    batchBytes: number
  }

export const relayDefaults: RelayOptions = {
  leaseMs: 4_000,
  sendLimitMs: 2_500,
  standbyMs: 400,
  pollMinMs: 10,
  pollMaxMs: 50,
  pollWatchedMs: 250,
  pollAloneMs: 1_500,
  batchRows: 500,
  batchBytes: 1_000_000,
  // A round costs Kafka, its consumers, the database and this process some milliseconds together,
  // however few rows it carries, so under load they wait for each other. The few events of a
  // single caller do not, nor does a relay that is behind. `relayIntervalMs` sets it.
  roundMs: 10,
  roundsAtOnce: 5,
  retryMinMs: 100,
  retryMaxMs: 1_000,
}

export type Relay = { wake(): void; close(): Promise<void> }

/**
 * Publishes the rows of an outbox, at least once and in the order of each partition key. The leader
 * reads from the oldest row, publishes, and deletes what was acknowledged; it reads again only
 * after that. `wake` reports a commit. `close` lets the current send end and gives the lease back.
 */
export function startRelay<Position>(
  source: RelaySource<Position>,
  publisher: Publisher,
  metrics: RelayMetrics,
  log: Logger,
  options: RelayOptions = relayDefaults,
): Relay {
  const keeper = createLeaseKeeper(source, metrics, log, options)
  const pacing = createPacing(options)
  const renewBelowMs = options.sendLimitMs + (options.leaseMs - options.sendLimitMs) / 2
  let closing = false
  let step: RelayStep = 'lease'
  let failing = false
  let awaitsChange = false
  // Halved after a failed send and doubled after a successful one: a broker or a connection that
  // cannot take much gets little.
  let rowLimit = options.batchRows

  async function run(): Promise<void> {
    while (!closing) {
      try {
        await round()
      } catch (error) {
        failed(error)
        if (keeper.leftMs() <= 0) keeper.drop()
        await pacing.retry()
      }
    }
    await publisher.close()
    await keeper.release()
  }

  /** Relays one batch, and pauses as long as its outcome asks for. */
  async function round(): Promise<void> {
    step = 'lease'
    const lease = await keeper.take()
    if (!lease) return pacing.standby()
    if (!(await keeper.renewBelow(renewBelowMs))) return

    pacing.reading()
    step = 'read'
    const waiting = await source.read({ rows: rowLimit, bytes: options.batchBytes })
    if (waiting.length === 0) {
      recovered()
      if (!lease.isShared) return pacing.idle('alone')
      awaitChange(lease.watch)
      return pacing.idle(lease.watch ? 'watched' : 'polled')
    }
    pacing.foundRows()
    const rows = firstOf(withoutGaps(waiting), { rows: rowLimit, bytes: options.batchBytes })

    const readAt = performance.now()
    step = 'lease'
    // A slow read leaves too little of the lease. A renewal proves that no other process has led
    // since, so the rows are still the oldest.
    if (!(await keeper.renewBelow(options.sendLimitMs)) || keeper.leftMs() < options.sendLimitMs) return
    await publish(rows)
    const publishMs = performance.now() - readAt
    step = 'remove'
    if (!(await source.remove(rows, lease))) return keeper.drop()

    metrics.relayed(rows.map(({ ageMs }) => (ageMs === undefined ? undefined : Math.max(0, ageMs) + publishMs)))
    recovered()
    if (!isBehind(waiting)) await pacing.nextRound()
  }

  async function publish(rows: OutboxRow<Position>[]): Promise<void> {
    step = 'publish'
    try {
      await publisher.publish(rows)
    } catch (error) {
      rowLimit = Math.max(1, Math.floor(rows.length / 2))
      throw error
    }
    rowLimit = Math.min(options.batchRows, rowLimit * 2)
  }

  const isBehind = (waiting: OutboxRow<Position>[]) =>
    waiting.length >= rowLimit / 2 ||
    waiting.reduce((sum, { payload }) => sum + payload.length, 0) >= options.batchBytes / 2

  /** Waits for the next change in the background, once at a time and only when there is no work. */
  function awaitChange(watch: Watch | undefined): void {
    if (!watch || awaitsChange) return
    awaitsChange = true
    void watch.changed().then(() => {
      awaitsChange = false
      pacing.wake()
    })
  }

  function recovered(): void {
    pacing.succeeded()
    if (failing) log.info('relay recovered')
    failing = false
  }

  function failed(error: unknown): void {
    metrics.failed(step)
    // One line per outage, not one for each attempt while a broker is down for minutes.
    if (!failing) log.warn({ step, err: error }, 'relay failed, trying again')
    else log.debug({ step, err: error }, 'relay failed again')
    failing = true
  }

  const ended = run().catch((error: unknown) => log.warn({ err: error }, 'relay did not end cleanly'))
  return {
    wake: pacing.wake,
    async close() {
      closing = true
      pacing.close()
      await ended
    },
  }
}
