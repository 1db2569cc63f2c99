import type { Logger } from 'pino'

/**
 * A committed event that waits to be published. `position` names its row, `ageMs` is how long ago
 * it was written when it was read.
 */
export type OutboxRow<Position> = {
  position: Position
  partitionKey: string
  sequence: number
  payload: Buffer
  ageMs?: number
}

/**
 * The right to relay, valid for `leaseMs` by the database's clock from the moment it was asked for.
 */
export type Lease = { token: number }

export type OutboxSource<Position> = {
  /**
   * Takes the lease if it is free or run out, by the database's clock. Every success has a higher
   * token.
   */
  acquireLease(leaseMs: number): Promise<Lease | undefined>
  /** False when somebody else has it by now. */
  renewLease(lease: Lease, leaseMs: number): Promise<boolean>
  releaseLease(lease: Lease): Promise<void>
  /**
   * The oldest rows, always from the start. Guarantee: where a row is in the answer, every earlier
   * row of its partition key that is still in the outbox stands before it.
   */
  read(limits: { rows: number; bytes: number }): Promise<OutboxRow<Position>[]>
  /**
   * Deletes exactly these rows if the lease's token still holds; false, and nothing is deleted, if
   * not.
   */
  remove(rows: OutboxRow<Position>[], lease: Lease): Promise<boolean>
  /**
   * Where the database can tell of commits by other processes. A hint to read and nothing else:
   * rows are also found by polling.
   */
  watch?(): Watch
}

export type Watch = {
  /**
   * Resolves when something was committed since the last call, or may have been; after `close` too.
   * Never rejects.
   */
  changed(): Promise<void>
  close(): void
}

export type Publisher = {
  /**
   * Resolves when the broker has all rows on all in-sync replicas; rejects within its own time
   * limit.
   */
  publish(rows: { partitionKey: string; payload: Buffer }[]): Promise<void>
  close(): Promise<void>
}

/** What the relay was doing when it failed. All but `publish` is the database's. */
export type RelayStep = 'lease' | 'read' | 'publish' | 'remove'

export type RelayMetrics = {
  /**
   * Rows that were acknowledged and deleted: how long after it was written each was acknowledged,
   * where that is known.
   */
  relayed(waitedMs: (number | undefined)[]): void
  failed(step: RelayStep): void
  leader(isLeader: boolean): void
}

export type RelayOptions = {
  leaseMs: number
  /** A send ends within this time, so a lease must have at least this much left when one starts. */
  sendLimitMs: number
  /** How often one that has no lease asks for it. */
  standbyMs: number
  pollMinMs: number
  /**
   * Up to this it backs off while nothing comes: twenty small questions a second cost less than a
   * hundredth of a core.
   */
  pollMaxMs: number
  /** The same where the database tells of commits by itself. */
  pollWatchedMs: number
  /**
   * Most rows and bytes of one send. kafkajs makes one batch of all that goes to one partition, and
   * brokers refuse one above 1,048,588 bytes by default.
   */
  batchRows: number
  batchBytes: number
  /** The least time between the beginnings of two rounds. */
  roundMs: number
  /**
   * The same where rounds bring `busyRows` rows or more, which come quickly then: the next batch is
   * given time to grow.
   */
  busyRoundMs: number
  busyRows: number
  retryMinMs: number
  retryMaxMs: number
}

export const relayDefaults: RelayOptions = {
  leaseMs: 4_000,
  sendLimitMs: 2_500,
  standbyMs: 400,
  pollMinMs: 10,
  pollMaxMs: 50,
  pollWatchedMs: 250,
  batchRows: 500,
  batchBytes: 1_000_000,
  // A round costs Kafka, its consumers, the database and this process about 5 ms together, however
  // few rows it carries. Without a pause the relay of a single busy caller takes most of two cores.
  // A relay that is behind does not wait.
  roundMs: 10,
  busyRoundMs: 25,
  busyRows: 8,
  retryMinMs: 100,
  retryMaxMs: 1_000,
}

export type Relay = { wake(): void; close(): Promise<void> }

/**
 * The rows that may be sent now: those without a gap in their key's numbers. A gap means that an
 * earlier event has not been read, so it and everything after it in that key waits for the next
 * read.
 */
export function withoutGaps<Row extends { partitionKey: string; sequence: number }>(rows: Row[]): Row[] {
  const last = new Map<string, number>()
  return rows.filter(({ partitionKey, sequence }) => {
    const previous = last.get(partitionKey)
    if (previous !== undefined && sequence !== previous + 1) return false
    last.set(partitionKey, sequence)
    return true
  })
}

/** A record's own bytes in a Kafka batch, beside its key and its value, at most. */
const recordBytes = 40

/** The first of these rows: as many as stay within the limits, but at least one. */
export function firstOf<Row extends { partitionKey: string; payload: Buffer }>(
  rows: Row[],
  limits: { rows: number; bytes: number },
): Row[] {
  let bytes = 0
  const end = rows.findIndex(({ partitionKey, payload }, index) => {
    bytes += Buffer.byteLength(partitionKey) + payload.length + recordBytes
    return index > 0 && (index >= limits.rows || bytes > limits.bytes)
  })
  return end < 0 ? rows : rows.slice(0, end)
}

/**
 * Publishes what is in an outbox, at least once and in the order of each partition key: the leader
 * reads from the oldest row, publishes, and deletes what was acknowledged; nothing is read again
 * before that. `wake` says that something was committed. `close` ends after the send that is under
 * way and gives the lease back.
 */
export function startRelay<Position>(
  source: OutboxSource<Position>,
  publisher: Publisher,
  metrics: RelayMetrics,
  log: Logger,
  options: RelayOptions = relayDefaults,
): Relay {
  let closing = false
  let woken = false
  let interrupt: (() => void) | undefined

  function wake(): void {
    woken = true
    interrupt?.()
  }

  /** Waits, at most until `wake` or `close`. */
  async function pause(ms: number, wakeable: boolean): Promise<void> {
    if (closing || ms <= 0 || (wakeable && woken)) return
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms)
      interrupt = () => {
        if (!wakeable && !closing) return
        clearTimeout(timer)
        resolve()
      }
    })
    interrupt = undefined
  }

  async function run(): Promise<void> {
    let lease: (Lease & { since: number; watch: Watch | undefined }) | undefined
    let asked = false
    let idleMs = options.pollMinMs
    let retryMs = options.retryMinMs
    let failing = false
    let step: RelayStep = 'lease'
    // After a failure half as much is sent, after a success twice: a broker or a connection that
    // cannot take much gets little.
    let most = options.batchRows

    const drop = () => {
      if (lease) log.info({ token: lease.token }, 'relay lost its lease')
      lease?.watch?.close()
      lease = undefined
      metrics.leader(false)
    }
    // The monotonic clock from before the question: the lease cannot have begun earlier, so it
    // cannot end earlier either.
    const left = () => (lease ? options.leaseMs - (performance.now() - lease.since) : 0)
    const renewBelow = options.sendLimitMs + (options.leaseMs - options.sendLimitMs) / 2

    /** False, and no lease any more, when somebody else has it. */
    async function renew(): Promise<boolean> {
      const since = performance.now()
      if (lease && (await source.renewLease(lease, options.leaseMs))) {
        lease.since = since
        return true
      }
      drop()
      return false
    }

    /**
     * Asks for the next change, unless that question is still open. Asked only by a relay that has
     * nothing to do.
     */
    function listen(watch: Watch | undefined): void {
      if (!watch || asked) return
      asked = true
      void watch.changed().then(() => {
        asked = false
        wake()
      })
    }

    function recovered(): void {
      retryMs = options.retryMinMs
      if (failing) log.info('relay works again')
      failing = false
    }

    while (!closing) {
      try {
        step = 'lease'
        if (!lease) {
          const since = performance.now()
          const taken = await source.acquireLease(options.leaseMs)
          if (!taken) {
            await pause(options.standbyMs, false)
            continue
          }
          lease = { ...taken, since, watch: source.watch?.() }
          metrics.leader(true)
          log.info({ token: taken.token }, 'relay leads')
        }
        if (left() < renewBelow && !(await renew())) continue
        woken = false
        step = 'read'
        const began = performance.now()
        const waiting = await source.read({ rows: most, bytes: options.batchBytes })
        if (waiting.length === 0) {
          recovered()
          listen(lease.watch)
          await pause(idleMs, true)
          // Something was committed: poll quickly for a while, more is likely to follow.
          idleMs = woken
            ? options.pollMinMs
            : Math.min(idleMs * 2, lease.watch ? options.pollWatchedMs : options.pollMaxMs)
          continue
        }
        idleMs = options.pollMinMs
        const rows = firstOf(withoutGaps(waiting), { rows: most, bytes: options.batchBytes })
        const readAt = performance.now()
        step = 'lease'
        // A slow read leaves too little of the lease. Renewed, it says that nobody else led
        // meanwhile: the rows are still the oldest.
        if (left() < options.sendLimitMs && (!(await renew()) || left() < options.sendLimitMs)) continue
        step = 'publish'
        try {
          await publisher.publish(rows)
        } catch (error) {
          most = Math.max(1, Math.floor(rows.length / 2))
          throw error
        }
        most = Math.min(options.batchRows, most * 2)
        const publishMs = performance.now() - readAt
        step = 'remove'
        if (!(await source.remove(rows, lease))) {
          drop()
          continue
        }
        metrics.relayed(rows.map(({ ageMs }) => (ageMs === undefined ? undefined : Math.max(0, ageMs) + publishMs)))
        recovered()
        const isBehind =
          waiting.length >= most / 2 ||
          waiting.reduce((sum, { payload }) => sum + payload.length, 0) >= options.batchBytes / 2
        const roundMs = rows.length < options.busyRows ? options.roundMs : options.busyRoundMs
        if (!isBehind) await pause(roundMs - (performance.now() - began), false)
      } catch (error) {
        metrics.failed(step)
        // One line when it starts, not one for each attempt while a broker is away for minutes.
        if (!failing) log.warn({ step, err: error }, 'relay failed, trying again')
        else log.debug({ step, err: error }, 'relay failed again')
        failing = true
        if (lease && left() <= 0) drop()
        await pause(retryMs, false)
        retryMs = Math.min(retryMs * 2, options.retryMaxMs)
      }
    }
    lease?.watch?.close()
    await publisher.close()
    if (lease) await source.releaseLease(lease)
    metrics.leader(false)
  }

  const ended = run().catch((error: unknown) => log.warn({ err: error }, 'relay did not end cleanly'))
  return {
    wake,
    async close() {
      closing = true
      interrupt?.()
      await ended
    },
  }
}
