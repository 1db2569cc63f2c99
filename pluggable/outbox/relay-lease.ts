import type { Logger } from '#lib/logger.ts'
import type { Lease, RelaySource, Watch } from './relay-source.ts'

export type LeaseOptions = {
  leaseMs: number
  /** A send ends within this time, so a lease must have at least this much left when one starts. */
  sendLimitMs: number
}

export type HeldLease = Lease & {
  watch: Watch | undefined
  /** Whether other processes may commit events too. */
  isShared: boolean
}

export type LeaseKeeper = {
  /** Returns the lease, taking it if it is not held; undefined when another process has it. */
  take(): Promise<HeldLease | undefined>
  /** Returns how many milliseconds the lease is still valid for, at least; 0 without a lease. */
  leftMs(): number
  /** Renews the lease when less than `ms` of it is left. Returns false when it was lost. */
  renewBelow(ms: number): Promise<boolean>
  /** Gives up a lease that another process has taken or that has expired. */
  drop(): void
  /** Gives the lease back. */
  release(): Promise<void>
}

/**
 * Keeps a relay's lease, with the watch that runs as long as it is held. Each method throws what
 * the source throws.
 */
export function createLeaseKeeper(
  source: Pick<RelaySource<never>, 'acquireLease' | 'renewLease' | 'releaseLease' | 'watch'>,
  metrics: { leader(isLeader: boolean): void },
  log: Logger,
  options: LeaseOptions,
): LeaseKeeper {
  // `since` is on the monotonic clock and from before the request: the lease cannot have begun
  // earlier, so it cannot end earlier either.
  let held: (HeldLease & { since: number }) | undefined

  const leftMs = () => (held ? options.leaseMs - (performance.now() - held.since) : 0)

  function drop(): void {
    if (held) log.info({ token: held.token }, 'relay lost its lease')
    held?.watch?.close()
    held = undefined
    metrics.leader(false)
  }

  return {
    leftMs,
    drop,

    async take() {
      if (held) return held
      const since = performance.now()
      const taken = await source.acquireLease(options.leaseMs)
      if (!taken) return undefined
      // Until a renewal shows otherwise: the former leader may still be there.
      held = { ...taken, since, watch: source.watch?.(), isShared: true }
      metrics.leader(true)
      log.info({ token: taken.token }, 'relay leads')
      return held
    },

    async renewBelow(ms) {
      if (leftMs() >= ms) return true
      const since = performance.now()
      const renewed = held && (await source.renewLease(held, options.leaseMs))
      if (held && renewed) {
        held.since = since
        held.isShared = renewed.isShared
        return true
      }
      drop()
      return false
    },

    async release() {
      held?.watch?.close()
      if (held) await source.releaseLease(held)
      held = undefined
      metrics.leader(false)
    },
  }
}
