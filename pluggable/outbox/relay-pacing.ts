export type PacingOptions = {
  /** How often a relay without a lease asks for it. */
  standbyMs: number
  pollMinMs: number
  /**
   * The longest pause between reads while no rows come: twenty small queries a second cost less
   * than a hundredth of a core.
   */
  pollMaxMs: number
  /** The same where the database reports commits. */
  pollWatchedMs: number
  /**
   * The pause between reads where all commits come from this process, which `wake` reports. Long
   * enough for the lease to need a renewal then, and short enough for that to be in time.
   */
  pollAloneMs: number
  /** The time between two rounds while rows keep coming. */
  roundMs: number
  /** After a quiet time this many rounds do not wait for each other. */
  roundsAtOnce: number
  retryMinMs: number
  retryMaxMs: number
}

export type Pacing = {
  /** Ends the pause of an idle relay. */
  wake(): void
  /** Ends the current pause and makes all later ones empty. */
  close(): void
  /** Call before a read: a `wake` from then on ends the idle pause that follows. */
  reading(): void
  /** Call after a read that returned rows: the next idle pause is short. */
  foundRows(): void
  /** Call when the database and Kafka responded: the next retry comes quickly. */
  succeeded(): void
  /** Waits before asking for the lease again. */
  standby(): Promise<void>
  /** Waits after a read without rows until `wake`, or where others commit ever longer. */
  idle(commits: 'alone' | 'watched' | 'polled'): Promise<void>
  /** Call after a round: waits until the next one may start. */
  nextRound(): Promise<void>
  /** Waits after a failure, ever longer. */
  retry(): Promise<void>
}

/** Decides how long a relay pauses, and pauses. */
export function createPacing(options: PacingOptions): Pacing {
  let closed = false
  let woken = false
  let idleMs = options.pollMinMs
  let retryMs = options.retryMinMs
  let interrupt: (() => void) | undefined
  /** How many rounds need not wait; it grows by one every `roundMs`. */
  let credit = options.roundsAtOnce
  let creditAt = performance.now()

  async function pause(ms: number, { wakeable } = { wakeable: false }): Promise<void> {
    if (closed || ms <= 0 || (wakeable && woken)) return
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms)
      interrupt = () => {
        if (!wakeable && !closed) return
        clearTimeout(timer)
        resolve()
      }
    })
    interrupt = undefined
  }

  return {
    wake() {
      woken = true
      interrupt?.()
    },

    close() {
      closed = true
      interrupt?.()
    },

    reading() {
      woken = false
    },

    foundRows() {
      idleMs = options.pollMinMs
    },

    succeeded() {
      retryMs = options.retryMinMs
    },

    standby: () => pause(options.standbyMs),

    async idle(commits) {
      if (commits === 'alone') return pause(options.pollAloneMs, { wakeable: true })
      await pause(idleMs, { wakeable: true })
      // After a commit poll quickly for a while: more are likely to follow.
      const longest = commits === 'watched' ? options.pollWatchedMs : options.pollMaxMs
      idleMs = woken ? options.pollMinMs : Math.min(idleMs * 2, longest)
    },

    nextRound() {
      const now = performance.now()
      credit = Math.min(options.roundsAtOnce, credit + (now - creditAt) / options.roundMs) - 1
      creditAt = now
      return pause((1 - credit) * options.roundMs)
    },

    async retry() {
      await pause(retryMs)
      retryMs = Math.min(retryMs * 2, options.retryMaxMs)
    },
  }
}
