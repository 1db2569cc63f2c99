import { setTimeout as delay } from 'node:timers/promises'
import { Counter, Gauge } from 'prom-client'
import type { KeyRanges } from '#lib/key-ranges.ts'
import type { Logger } from '#lib/logger.ts'
import { contextOfTraceparent, SpanKind, withSpan } from '#lib/telemetry.ts'
import { refundedOf } from './payment.ts'
import { queue, type Leased, type Outcome, type PaymentStore } from './payment-store.ts'
import { performMs, type Performed, type ProviderClient } from './provider-client.ts'

const calls = new Counter({
  name: 'payment_provider_tasks_total',
  help: 'Charges and refunds attempted, by outcome. `ours`: the provider refuses our requests; somebody must look',
  labelNames: ['kind', 'outcome'],
})
const breaker = new Gauge({
  name: 'payment_provider_waiting',
  help: '1 while charges and refunds wait because the circuit breaker towards the provider is open',
})

/** A call that takes longer gives its place to another, so that slow ones do not stop the rest. */
const slowAfterMs = 1_000
/** So many slow calls per worker may be under way besides. */
const slowPerWorker = 4
const probePauseMs = 1_000
/** How long a stop waits for calls under way. What it cuts off is taken on when its lease ends. */
const stopMs = 3_000

export type Workers = ReturnType<typeof startWorkers>

/**
 * Starts the workers that call the provider, outside of any event and transaction: at most
 * `workers` at a time, and more only while some calls are slow. They do what is handed to them, and
 * every `pollMs` what is due: retries, and what a process left behind that was killed.
 *
 * Two may call the provider for one payment, if the first slept past its lease: both ask with the
 * same idempotency key (payment.ts). A lease is written by this process's clock and ends by the
 * database's; a difference only makes it longer or shorter.
 */
export function startWorkers(deps: {
  store: PaymentStore
  ranges: Pick<KeyRanges, 'due'>
  provider: ProviderClient
  log: Logger
  workers: number
  pollMs: number
}) {
  const { store, ranges, provider, log, workers, pollMs } = deps
  const waiting: { leased: Leased; settle: () => void }[] = []
  const running = new Set<Promise<void>>()
  let busy = 0
  let slow = 0
  let isOpen = false
  let stopped = false
  let timer: NodeJS.Timeout | undefined
  let polling = false
  /** Whether the last poll found as much as it asked for. */
  let hasMore = false

  /** Starts what waits, as far as there are workers. */
  function pump(): void {
    while (busy < workers && !isOpen && !stopped) {
      const next = waiting.shift()
      if (!next) break
      // Too late to be done within the lease: whoever finds it due then does it.
      if (Date.now() + performMs > next.leased.until) next.settle()
      else run(next.leased, next.settle)
    }
    if (hasMore && !polling && !stopped && busy * 2 < workers) {
      hasMore = false
      clearTimeout(timer)
      void poll()
    }
  }

  function run(leased: Leased, settle: () => void): void {
    busy += 1
    let isSlow = false
    const aside = setTimeout(() => {
      if (slow >= workers * slowPerWorker) return
      isSlow = true
      busy -= 1
      slow += 1
      pump()
    }, slowAfterMs)
    const done = work(leased).finally(() => {
      clearTimeout(aside)
      if (isSlow) slow -= 1
      else busy -= 1
      running.delete(done)
      settle()
      pump()
    })
    running.add(done)
  }

  /** Does what is to be done about a payment, one task after another. Never throws. */
  async function work(leased: Leased): Promise<void> {
    for (let next: Leased | undefined = leased; next;) next = await traced(next)
  }

  function traced(leased: Leased): Promise<Leased | undefined> {
    const { payment, task } = leased
    const parent = contextOfTraceparent(payment.traceparent)
    const attributes = { orderId: task.orderId, attempt: task.attempt }
    return withSpan(`payment ${task.kind}`, { kind: SpanKind.INTERNAL, parent, attributes }, () => attempt(leased))
  }

  async function attempt({ task, until }: Leased): Promise<Leased | undefined> {
    const result = await provider.perform(task, until)
    calls.inc({ kind: task.kind, outcome: result.outcome })
    if (result.outcome === 'not_sent') waitForProvider()
    try {
      const outcome = await store.finish(task, result)
      report(task, result, outcome)
      return outcome.leased
    } catch (err) {
      log.warn({ orderId: task.orderId, err }, 'the result of a payment was not stored; the provider is asked again')
      return undefined
    }
  }

  function report(task: Leased['task'], result: Performed, { payment, isChanged }: Outcome): void {
    const { orderId, kind, attempt: number } = task
    const { outcome, answer, status } = result
    const line = { orderId, kind, attempt: number, answer, httpStatus: status }
    if (outcome === 'ours')
      log.error({ ...line, alert: 'payment_provider_refuses' }, 'the payment provider refuses our requests')
    else if (outcome === 'later') log.warn({ ...line, due: payment?.due }, 'the payment provider did not decide')
    else if (isChanged && payment && (outcome === 'done' || outcome === 'declined'))
      log.info({ orderId, status: payment.status, refunded: refundedOf(payment), reason: payment.reason }, 'payment')
    if (isChanged && payment?.refunds.some((refund) => refund.strayCharge !== undefined && refund.status === 'PENDING'))
      log.error({ ...line, alert: 'payment_charged_twice' }, 'a second charge was made, and is refunded')
  }

  /** Lets everything wait until the circuit breaker closes. */
  function waitForProvider(): void {
    if (isOpen || stopped) return
    isOpen = true
    breaker.set(1)
    log.warn('the circuit breaker towards the payment provider is open: payments wait')
    const probe = async () => {
      while (!stopped && !(await provider.isReachable())) await delay(probePauseMs)
      isOpen = false
      breaker.set(0)
      log.info('the payment provider responds again')
      pump()
    }
    void probe()
  }

  async function poll(): Promise<void> {
    polling = true
    try {
      const free = isOpen ? 0 : workers - busy - waiting.length
      if (free > 0) {
        const rows = await ranges.due(queue, free)
        const taken = await Promise.all(rows.map((row) => store.takeDue(row)))
        hasMore = rows.length === free
        for (const leased of taken) if (leased) void start(leased)
      }
    } catch (err) {
      log.warn({ err }, 'payments that are due could not be read; trying again')
    }
    polling = false
    if (!stopped) timer = setTimeout(poll, pollMs)
  }

  /** Does a payment's tasks as soon as a worker is free. Resolves when that is over. */
  function start(leased: Leased): Promise<void> {
    return new Promise((settle) => {
      waiting.push({ leased, settle })
      pump()
    })
  }

  timer = setTimeout(poll, pollMs)
  return {
    start,

    /**
     * Whether a payment that is handed over now is begun soon. Else another replica may be faster.
     */
    hasRoom: (): boolean => !isOpen && !stopped && waiting.length < workers,

    /** Stops, after the calls under way or 3 s. */
    async stop(): Promise<void> {
      stopped = true
      clearTimeout(timer)
      await Promise.race([Promise.all(running), delay(stopMs, undefined, { ref: false })])
    },
  }
}
