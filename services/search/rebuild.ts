import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import * as z from 'zod'
import { AppError, exists, notFound, unavailable } from '#lib/errors.ts'
import type { Logger } from '#lib/logger.ts'
import type { RebuildProgress } from '#protos/shop/search/v1/search.ts'
import type { CatalogClient } from './catalog-client.ts'
import { targetsAgeMs, type IndexClient } from './index-client.ts'
import { changeOf, productEvent, type Change } from './product-document.ts'

/** What all replicas know of the last rebuild. */
const noteSchema = z.object({
  state: z.enum(['running', 'done', 'failed']),
  /** The replica that does it. */
  by: z.string().default(''),
  products: z.int(),
  total: z.int(),
  startedAt: z.int(),
  /** Of a running one: it is alive. */
  updatedAt: z.int(),
  error: z.string(),
})
type Note = z.infer<typeof noteSchema>

/** A rebuild that has said nothing for so long has ended with its process. */
const silentMs = 20_000
const sayEveryMs = 1_000
/** How long catalog and the index may be away during a rebuild. */
const patienceMs = 60_000
/** How often it is looked for whether there is an index at all. */
const watchEveryMs = 2_000
/** After this, no search that has begun in the old index is still under way. */
const searchedMs = 3_000
/** So many products are written at once. */
const batchSize = 250

export type Rebuilds = ReturnType<typeof createRebuilds>

/**
 * Creates what builds an index from the catalogue, beside the one that is searched.
 *
 * Nothing that changes meanwhile is lost. From the moment the new index exists, changes go to both;
 * every replica knows that within `targetsAgeMs`, and only then the first product is read. So a
 * change is either in what is read, or comes to the new index by itself; versions decide which of
 * the two is later.
 */
export function createRebuilds(deps: { index: IndexClient; catalog: CatalogClient; log: Logger }) {
  const { index, catalog, log } = deps
  const closed = new AbortController()
  const replica = randomUUID()
  let running: Promise<void> | undefined

  /** Writes the note of the rebuild that this replica does, and stops it if another took over. */
  function createNotes(first: Note, version: string | undefined) {
    let note = first
    let known = version
    return {
      get: () => note,
      async say(change: Partial<Note>): Promise<void> {
        note = { ...note, ...change, updatedAt: Date.now() }
        if (!(await index.writeNote(note, known)))
          throw exists('rebuild_running', 'another replica has begun a rebuild')
        known = (await index.readNote(noteSchema))?.version
      },
    }
  }

  /** Repeats what fails because something is away. */
  async function patiently<T>(work: () => Promise<T>): Promise<T> {
    const giveUpAt = Date.now() + patienceMs
    for (;;) {
      try {
        return await work()
      } catch (error) {
        if (!(error instanceof AppError) || error.kind !== 'unavailable' || Date.now() > giveUpAt) throw error
        await delay(500, undefined, { signal: closed.signal })
      }
    }
  }

  async function write(name: string, changes: Change[]): Promise<void> {
    let rest = changes
    await patiently(async () => {
      const written = await index.write(name, rest)
      rest = rest.filter((_, n) => written[n] === 'failed')
      if (rest.length > 0) throw unavailable('search_unavailable', 'the index did not take all products')
    })
  }

  async function build(notes: ReturnType<typeof createNotes>): Promise<void> {
    const before = await patiently(index.list)
    // What a rebuild has left that did not come to its end.
    await patiently(removeOthers)
    const numbers = before.map(({ name }) => Number(name.split('-').at(-1)))
    const name = index.nameOf(Math.max(0, ...numbers) + 1)
    if (!(await patiently(() => index.create(name)))) throw exists('rebuild_running', `there is an index ${name}`)
    index.forgetTargets()
    // Without an index before, no change has gone anywhere yet.
    if (before.some(({ searched }) => searched)) await delay(2 * targetsAgeMs, undefined, { signal: closed.signal })

    let products = 0
    let said = Date.now()
    const scan = (afterId: string) => {
      const page = patiently(() => catalog.scan(afterId))
      page.catch(() => {})
      return page
    }
    for (let next: ReturnType<typeof scan> | undefined = scan(''); next;) {
      const page: Awaited<ReturnType<typeof scan>> = await next
      next = page.lastId === '' ? undefined : scan(page.lastId)
      const changes = page.products.flatMap(toChanges)
      for (let from = 0; from < changes.length; from += batchSize)
        await write(name, changes.slice(from, from + batchSize))
      products += page.products.length
      if (Date.now() - said < sayEveryMs) continue
      await patiently(() => notes.say({ products }))
      said = Date.now()
    }
    await patiently(() => notes.say({ products, total: products }))
    await patiently(() => index.finish(name))
    await patiently(() => index.swap(name))
    await delay(searchedMs, undefined, { signal: closed.signal })
    await patiently(removeOthers)
    index.forgetTargets()
    log.info({ index: name, products }, 'index built')
  }

  /** Removes each index that is not searched. */
  async function removeOthers(): Promise<void> {
    for (const { name, searched } of await index.list()) if (!searched) await index.remove(name)
  }

  function toChanges(product: unknown): Change[] {
    const parsed = productEvent.safeParse(product)
    if (parsed.success) return [changeOf(parsed.data)]
    const issues = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`)
    log.error({ issues }, 'product left out: it does not fit the schema of its event')
    return []
  }

  async function start(): Promise<RebuildProgress> {
    const last = await index.readNote(noteSchema)
    // A note of its own is left when OpenSearch wrote it and took too long to say so.
    const isOthers = last && isRunning(last.value) && last.value.by !== replica
    if (running || isOthers) throw exists('rebuild_running', 'a rebuild is running')
    const now = Date.now()
    const note: Note = {
      state: 'running',
      by: replica,
      products: 0,
      total: await index.count(),
      startedAt: now,
      updatedAt: now,
      error: '',
    }
    const notes = createNotes(note, last?.version)
    await notes.say({})
    running = build(notes)
      .then(() => patiently(() => notes.say({ state: 'done' })))
      .catch(async (err: unknown) => {
        if (closed.signal.aborted) return
        log.error({ err }, 'rebuild failed')
        const error = err instanceof Error ? err.message : String(err)
        await notes.say({ state: 'failed', error: error.slice(0, 500) }).catch(() => {})
      })
      .finally(() => {
        running = undefined
      })
    return toProgress(note)
  }

  /** Builds the first index, and another one if OpenSearch has lost it. */
  async function watch(): Promise<void> {
    while (!closed.signal.aborted) {
      try {
        if (!(await index.list()).some(({ searched }) => searched)) await start()
      } catch (error) {
        const isBusy = error instanceof AppError && error.code === 'rebuild_running'
        if (!isBusy) log.warn({ err: error }, 'the index is not available')
      }
      await delay(watchEveryMs, undefined, { signal: closed.signal }).catch(() => {})
    }
  }
  const watching = watch()

  return {
    /** Throws `exists` rebuild_running, `unavailable`. */
    start,
    /** Throws `not_found` rebuild_not_found, `unavailable`. */
    async progress(): Promise<RebuildProgress> {
      const note = await index.readNote(noteSchema)
      if (!note) throw notFound('rebuild_not_found', 'no rebuild was started yet')
      return toProgress(note.value)
    },
    async close(): Promise<void> {
      closed.abort()
      await watching
      await running
    },
  }
}

const isRunning = ({ state, updatedAt }: Note) => state === 'running' && Date.now() - updatedAt < silentMs

function toProgress(note: Note): RebuildProgress {
  const { state, products, total, startedAt, updatedAt, error } = note
  const ended = state === 'running' && !isRunning(note)
  return {
    state: ended ? 'failed' : state,
    products,
    total: Math.max(total, products),
    seconds: (updatedAt - startedAt) / 1_000,
    error: ended ? 'its process has ended' : error,
  }
}
