import { setTimeout as delay } from 'node:timers/promises'
import { context, type Context } from '@opentelemetry/api'
import type * as z from 'zod'
import type { Operation, StateStore } from './dapr.ts'
import { AppError, unavailable } from './errors.ts'
import { groupsOf } from './groups.ts'
import { activeDeadline } from './grpc-server.ts'
import { inTraceOf, traceparent } from './telemetry.ts'

/** An event to publish with a transaction (docs/events.md). */
export type NewEvent = {
  type: string
  data: unknown
  key: string
  subject?: string
  topic?: string
  /**
   * It says all that earlier events of its type and key say: of one batch only the last is
   * published.
   */
  replacesEarlier?: boolean
}

/**
 * Something to tell whose order does not matter, because readers keep the latest by a version of
 * its own. A batch publishes all of one type and topic in as few events as fit, as
 * `{[list]: [item, …]}`; of those with one `id` only the last.
 */
export type NewItem = { type: string; topic?: string; list: string; id: string; item: object }

/** What a work sees of the store, and what it changes. */
export type Draft = {
  /**
   * Returns a key's value, parsed: the stored one, or what an earlier work of the same batch has
   * put. Undefined if there is none. The key must be one that the work names.
   */
  get<T>(key: string, schema: z.ZodType<T>): T | undefined
  /**
   * Stores a value. If the work names the key, the write holds only if nobody else has changed it
   * since it was read; else the last write wins.
   */
  put(key: string, value: unknown, options?: { ttlSeconds?: number }): void
  /** Deletes a key; one that does not exist is no error. Conditional as `put` is. */
  delete(key: string): void
  /** Publishes an event once everything is committed. */
  publish(event: NewEvent): void
  /** Publishes something with others of its kind, once everything is committed. */
  tell(item: NewItem): void
}

/** One change of the store: what is read, and what is decided about it. */
export type Work<R> = {
  /** The keys that `decide` reads. */
  keys: readonly string[]
  /**
   * Further keys that `decide` reads, named by what the first ones hold. It does no I/O and changes
   * nothing, because it runs several times.
   */
  moreKeys?: (known: Pick<Draft, 'get'>) => readonly string[]
  /**
   * Keys that `decide` reads too, and that hardly ever exist: a new order's, say. They are taken to
   * be absent, which saves reading them, and read only if the first commit shows otherwise. So
   * whenever `decide` finds one absent, it must put it.
   */
  presumedAbsent?: readonly string[]
  /**
   * Works with the same `order` are done one after another; once one has failed, the later ones of
   * its batch fail too.
   */
  order?: string
  /** About how large what it writes is, if that is more than a few hundred bytes. */
  bytes?: number
  /**
   * Decides, and writes to `draft`. It does no I/O and changes nothing else, because it runs again
   * when another writer got in between. What it throws fails this work alone, which then changes
   * nothing.
   */
  decide: (draft: Draft) => R
}

export type Batches = ReturnType<typeof createBatches>

/** A batch ends at this many works or keys, so that its messages stay far below gRPC's 4 MiB. */
const maxWorks = 200
const maxKeys = 2_000
const maxBytes = 1024 * 1024
/** A transaction that grew larger than this is taken apart. */
const maxTransactionBytes = 3 * 1024 * 1024
const maxAttempts = 12
/**
 * After a batch of `busyWorks` or more the next one begins no sooner than `roundMs`: works come
 * quickly then, and the batch is given time to grow. At 64 callers on a busy machine the shop
 * confirmed 70 orders/s at 21 ms of CPU each with it, and 54 at 26 ms without. A lone order never
 * waits. A round holds at most as many events as there are partitions.
 */
const usualRounds = { roundMs: 40, busyWorks: 4 }
/**
 * Of items that share an event, which has at most 1 MiB. Of a partition one event is delivered at a
 * time: with an event for each product, an import's events came in by the hundred while it sent
 * thousands (docs/adr/0010-batches.md).
 */
const eventLimits = { size: 256 * 1024, count: 500 }

type Entry = {
  work: Work<unknown>
  context: Context
  deadline: number
  attempts: number
  resolve: (value: unknown) => void
  reject: (error: unknown) => void
}

type Stored = { text: string; etag: string }
/** What was read. `has`: also of keys that do not exist. */
type Known = {
  stored: (key: string) => Stored | undefined
  has: (key: string) => boolean
  found: ReadonlyMap<string, Stored>
}
type Write = { value: unknown; ttlSeconds?: number } | { deleted: true }

/**
 * Creates a group commit over one state store. Works that arrive while a batch is being committed
 * make the next one, so a batch is one work while there is little to do, and grows with the load:
 * one bulk read, all decisions in the order of arrival, one transaction. At 88 orders/s an order
 * took part in 0.6 transactions (bench/results/orders.md), at the lowest load in 7.
 *
 * - Another writer in between: everything is read and decided again; twice, and then in halves.
 * - Something in the batch that the store refuses: the batch is taken apart into halves, so only
 *   the work at fault fails.
 * - The store does not respond: all works fail with its error, `unavailable`.
 */
export function createBatches(state: StateStore, { roundMs, busyWorks } = usualRounds) {
  const waiting: Entry[] = []
  let running = false
  let transactions = 0

  async function run(): Promise<void> {
    // What the sidecar delivers in the same turn belongs to the first batch.
    await new Promise(setImmediate)
    while (waiting.length > 0) {
      const began = performance.now()
      const before = transactions
      const batch = takeBatch(waiting)
      await settle(batch, new Set())
      const left = roundMs - (performance.now() - began)
      // What changes nothing costs little.
      if (batch.length >= busyWorks && transactions > before && left > 0) await delay(left)
    }
    running = false
  }

  /** Commits the entries, in their order, and resolves or rejects each. Never throws. */
  async function settle(batch: Entry[], failed: Set<string>): Promise<void> {
    const fail = (entry: Entry, error: unknown) => {
      if (entry.work.order !== undefined) failed.add(entry.work.order)
      entry.reject(error)
    }
    const halves = async () => {
      const middle = batch.length >> 1
      await settle(batch.slice(0, middle), failed)
      await settle(batch.slice(middle), failed)
    }
    let open = batch
    for (let round = 1; ; round++) {
      for (const entry of open) entry.attempts += 1
      // Calls for the whole batch belong to one trace: that of the first work. Each write and event
      // has its own work's.
      const first = open[0]!.context
      const results = new Map<Entry, unknown>()
      // Works whose keys are known only once those before them are committed.
      let later: Entry[] = []
      try {
        const stored = await inTraceOf(first, () => read(open))
        const { draft, operations, attempt, missing } = createDraft(stored)
        for (const [i, entry] of open.entries()) {
          const { work } = entry
          if (missing(entry)) {
            later = open.slice(i)
            break
          }
          if (work.order !== undefined && failed.has(work.order)) {
            fail(entry, unavailable('behind_failed', 'an earlier event of the same key failed'))
            continue
          }
          try {
            results.set(
              entry,
              context.with(entry.context, () => attempt(entry, () => work.decide(draft))),
            )
          } catch (error) {
            fail(entry, error)
          }
        }
        const changes = operations()
        const isLarge = expectedBytes(open, stored) > maxTransactionBytes / 2
        if (results.size > 1 && isLarge && sizeOf(changes) > maxTransactionBytes) {
          batch = [...results.keys(), ...later]
          return halves()
        }
        if (changes.length > 0) {
          transactions += 1
          await inTraceOf(first, () => state.transact(changes))
        }
        for (const [entry, result] of results) entry.resolve(result)
        return later.length > 0 ? settle(later, failed) : undefined
      } catch (error) {
        const rest = open.filter((entry) => results.size === 0 || results.has(entry) || later.includes(entry))
        const kind = error instanceof AppError ? error.kind : 'internal'
        if (rest.length === 0) return
        if (kind === 'unavailable' || (kind === 'conflict' && rest[0]!.attempts >= maxAttempts)) {
          for (const entry of rest) fail(entry, error)
          return
        }
        if (rest.length > 1 && (kind !== 'conflict' || round > 2)) {
          batch = rest
          return halves()
        }
        if (kind !== 'conflict') {
          fail(rest[0]!, error)
          return
        }
        open = rest
        if (round > 1) await delay(Math.random() * Math.min(100, 2 ** rest[0]!.attempts))
      }
    }
  }

  /** Returns what the entries' keys hold. A presumed absence is believed once. */
  async function read(entries: Entry[]): Promise<Known> {
    const keys = new Set<string>()
    for (const { work, attempts } of entries) {
      for (const key of work.keys) keys.add(key)
      if (attempts > 1) for (const key of work.presumedAbsent ?? []) keys.add(key)
    }
    const found = new Map<string, Stored>()
    const fetch = async (wanted: string[]) => {
      for (const [key, row] of await state.bulkText(wanted)) found.set(key, row)
    }
    await fetch([...keys])
    const known: Known = { stored: (key) => found.get(key), has: (key) => keys.has(key), found }
    const more = moreKeysOf(entries, known).filter((key) => !keys.has(key))
    if (more.length > 0) {
      await fetch([...new Set(more)])
      for (const key of more) keys.add(key)
    }
    // So that a key that is presumed to be absent counts as known.
    for (const { work } of entries) for (const key of work.presumedAbsent ?? []) keys.add(key)
    return known
  }

  return {
    /**
     * Does a work and returns what it decided, once that is committed. Throws what `decide` throws,
     * `conflict` when others kept getting in between, and the store's errors: `unavailable`
     * (nothing was changed, or commit_unknown), `rejected` event_too_large.
     */
    commit<R>(work: Work<R>): Promise<R> {
      return new Promise<unknown>((resolve, reject) => {
        waiting.push({ work, context: context.active(), deadline: activeDeadline(), attempts: 0, resolve, reject })
        if (running) return
        running = true
        void run()
      }) as Promise<R>
    },
  }
}

/** Returns the further keys of the entries, by what is stored. */
function moreKeysOf(entries: Entry[], known: Known): string[] {
  if (entries.every(({ work }) => !work.moreKeys)) return []
  const { moreKeys } = createDraft(known)
  return entries.flatMap((entry) => {
    try {
      return moreKeys(entry)
    } catch {
      // It fails again when its turn comes, and then alone.
      return []
    }
  })
}

/** Takes the next batch; works whose callers have given up fail undone. */
function takeBatch(waiting: Entry[]): Entry[] {
  const batch: Entry[] = []
  let keys = 0
  let bytes = 0
  while (waiting.length > 0 && batch.length < maxWorks) {
    const [entry] = waiting as [Entry]
    const { work } = entry
    keys += work.keys.length + (work.presumedAbsent?.length ?? 0)
    bytes += work.bytes ?? 0
    if (batch.length > 0 && (keys > maxKeys || bytes > maxBytes)) break
    waiting.shift()
    if (Date.now() < entry.deadline) batch.push(entry)
    else entry.reject(new AppError('timeout', 'timeout', 'its turn did not come in time; nothing was changed'))
  }
  return batch
}

/**
 * About how much works write: what is read is written again, and published. Measuring it takes a
 * tenth of a batch's time.
 */
const expectedBytes = (entries: Entry[], { found }: Known): number =>
  entries.reduce((sum, { work }) => sum + (work.bytes ?? 0), 0) +
  [...found.values()].reduce((sum, { text }) => sum + 2 * text.length, 0)

const sizeOf = (operations: Operation[]): number =>
  operations.reduce(
    (sum, operation) => sum + ('delete' in operation ? 0 : Buffer.byteLength(JSON.stringify(operation))),
    0,
  )

function createDraft({ stored, has }: Known) {
  const writes = new Map<string, Write>()
  const conditional = new Set<string>()
  let events: Operation[] = []
  /** By kind and id. */
  const items = new Map<string, Told>()
  const parsed = new Map<string, unknown>()

  // Of the work that is deciding now.
  let named = new Set<string>()
  let own = new Map<string, Write>()
  let published: NewEvent[] = []
  let told: NewItem[] = []

  const written = (write: Write | undefined) => (!write || 'deleted' in write ? undefined : write.value)
  const storedValue = (key: string) => {
    if (!parsed.has(key)) {
      const row = stored(key)
      parsed.set(key, row && JSON.parse(row.text))
    }
    return parsed.get(key)
  }

  const draft: Draft = {
    get(key, schema) {
      if (!named.has(key)) throw new Error(`a work must name the keys that it reads: ${key}`)
      const write = own.get(key) ?? writes.get(key)
      const value = write ? written(write) : storedValue(key)
      return value === undefined ? undefined : schema.parse(value)
    },
    put(key, value, options = {}) {
      own.set(key, { value, ...options })
    },
    delete(key) {
      own.set(key, { deleted: true })
    },
    publish(event) {
      published.push(event)
    },
    tell(item) {
      told.push(item)
    },
  }

  function moreKeys(entry: Entry): readonly string[] {
    if (!entry.work.moreKeys) return []
    named = new Set(namedBy(entry))
    own = new Map()
    return entry.work.moreKeys(draft)
  }

  return {
    draft,
    moreKeys,

    /** Whether a work names keys that were not read, because of what others have written. */
    missing(entry: Entry): boolean {
      try {
        return moreKeys(entry).some((key) => !has(key))
      } catch {
        // It fails again when it decides.
        return false
      }
    },

    /** Lets one work decide: what it changes is kept if it returns, and forgotten if it throws. */
    attempt<R>(entry: Entry, decide: () => R): R {
      const more = moreKeys(entry)
      named = new Set([...namedBy(entry), ...more])
      own = new Map()
      published = []
      told = []
      const result = decide()
      for (const [key, write] of own) {
        writes.set(key, write)
        if (named.has(key)) conditional.add(key)
      }
      const parent = traceparent()
      for (const { replacesEarlier, ...event } of published) {
        if (replacesEarlier) events = events.filter((one) => !isLike(one, event))
        events.push({ event: parent ? { ...event, traceparent: parent } : event })
      }
      for (const item of told) items.set(`${kindOf(item)} ${item.id}`, { ...item, parent })
      return result
    },

    operations(): Operation[] {
      const changes = [...writes].map(([key, write]): Operation => {
        const etag = conditional.has(key) ? stored(key)?.etag : undefined
        if ('deleted' in write) return { delete: key, ...(etag === undefined ? {} : { etag }) }
        const condition = etag !== undefined ? { etag } : conditional.has(key) ? { firstWrite: true } : {}
        return { upsert: key, ...write, ...condition }
      })
      return [...changes, ...events, ...[...Map.groupBy(items.values(), kindOf).values()].flatMap(eventsOf)]
    },
  }
}

/** `parent`: the trace of the work that told it. */
type Told = NewItem & { parent: string | undefined }

/** Items of one kind can share an event. */
const kindOf = ({ type, topic = '' }: NewItem) => `${type} ${topic}`

/** Returns the events that tell items of one kind. Their key and trace are those of the first. */
function eventsOf(items: Told[]): Operation[] {
  const sizeOf = ({ item }: NewItem) => Buffer.byteLength(JSON.stringify(item))
  return groupsOf(items, { ...eventLimits, sizeOf }).map((group): Operation => {
    const { type, topic, list, id, parent } = group[0]!
    return {
      event: {
        type,
        key: id,
        data: { [list]: group.map(({ item }) => item) },
        ...(topic === undefined ? {} : { topic }),
        ...(parent === undefined ? {} : { traceparent: parent }),
      },
    }
  })
}

const namedBy = ({ work }: Entry) => [...work.keys, ...(work.presumedAbsent ?? [])]

const isLike = (operation: Operation, { type, key, topic }: NewEvent) =>
  'event' in operation &&
  operation.event.type === type &&
  operation.event.key === key &&
  operation.event.topic === topic
