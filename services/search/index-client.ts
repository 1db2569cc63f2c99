import * as z from 'zod'
import type { Dapr } from '#lib/dapr.ts'
import { unavailable } from '#lib/errors.ts'
import type { Logger } from '#lib/logger.ts'
import { indexSettings } from './index-settings.ts'
import type { Change } from './product-document.ts'
import type { SearchResult } from './query.ts'

/** The HTTPEndpoint resource. Its sidecar knows the address, and gives up and stops asking. */
const endpoint = 'opensearch'
/**
 * The sidecar gives up before (resiliency-calls.yaml), and must: only what it sees fail opens its
 * circuit breaker.
 */
const timeoutMs = 3_000
/** How long a replica may go by a list of indexes that it has read. */
export const targetsAgeMs = 1_000

/**
 * What became of a change. `stale`: a later version is there. `refused`: it can never be stored.
 * `failed`: again later.
 */
export type Written = 'written' | 'stale' | 'refused' | 'failed'

export type IndexClient = ReturnType<typeof createIndexClient>

const aliasesSchema = z.record(z.string(), z.object({ aliases: z.record(z.string(), z.unknown()) }))
const bulkSchema = z.object({
  items: z.array(
    z.record(
      z.string(),
      z.object({ status: z.int(), error: z.object({ type: z.string(), reason: z.string().nullish() }).optional() }),
    ),
  ),
})
const noteSchema = z.object({
  found: z.boolean().optional(),
  _seq_no: z.int().optional(),
  _primary_term: z.int().optional(),
  _source: z.unknown().optional(),
})
const notesSchema = z.object({ docs: z.tuple([noteSchema]) })

/**
 * Creates the client of OpenSearch. `searched` is the alias of the index that is complete, and
 * begins the names of all others. Everything throws `unavailable` search_unavailable while
 * OpenSearch does not answer.
 */
export function createIndexClient(deps: { dapr: Pick<Dapr, 'http'>; searched: string; log: Pick<Logger, 'error'> }) {
  const { dapr, searched, log } = deps
  /** Never matches `<searched>-*`. */
  const notes = `rebuild_of_${searched}`
  let targets: { since: number; names: Promise<string[]> } | undefined

  /** Sends a request. Returns the response of a status in `expected`, besides 200 and 201. */
  async function call(
    method: string,
    path: string,
    body?: object | string,
    { expected = [] }: { expected?: number[] } = {},
  ) {
    // Or else daprd asks for gzip, and both take time for it on the way through one machine.
    const headers: Record<string, string> = { 'accept-encoding': 'identity' }
    if (body !== undefined) headers['content-type'] = typeof body === 'string' ? ndjson : 'application/json'
    const text = body === undefined || typeof body === 'string' ? body : JSON.stringify(body)
    const init = { method, headers, ...(text === undefined ? {} : { body: text }) }
    const send = () => dapr.http(endpoint, path, init, { timeoutMs })
    const answer = await send()
      // Now and then daprd passes on only the beginning of a long response, without an error; why
      // is not known. Everything here can be repeated.
      .catch((error: unknown) => (isCutOff(error) ? send() : Promise.reject(error as Error)))
      .catch((error: unknown) => {
        throw out(error)
      })
    const { status } = answer
    if (status === 200 || status === 201 || expected.includes(status)) return answer
    throw out(new Error(`${method} ${path.split('?')[0]}: ${status} ${JSON.stringify(answer.body).slice(0, 1_000)}`))
  }

  /** Returns all indexes that are complete or being built. */
  async function list(): Promise<{ name: string; searched: boolean }[]> {
    // By a pattern, which is 200 even if nothing fits: Dapr's circuit breaker counts a 404 as a
    // failure, and the one request that it lets through to find out whether all is well is often
    // this one. A shop without an index never got one.
    const { body } = await call('GET', `/_alias/${searched}*`)
    return Object.entries(aliasesSchema.parse(body)).flatMap(([name, { aliases }]) =>
      searched in aliases || writesOf(name) in aliases ? [{ name, searched: searched in aliases }] : [],
    )
  }

  return {
    list,

    /** Does searches of one moment, all or none. */
    async search(bodies: object[], preference: string): Promise<SearchResult[]> {
      // A preference that begins with _ has a meaning.
      const header = JSON.stringify({ index: searched, preference: `of ${preference}` })
      const lines = bodies.map((body) => `${header}\n${JSON.stringify(body)}\n`)
      const { body } = await call('POST', '/_msearch', lines.join(''))
      const { responses } = body as { responses?: (SearchResult & Failure)[] }
      if (!Array.isArray(responses)) throw out(new Error('the response is not that of a search'))
      for (const { error, timed_out: timedOut, _shards: shards } of responses) {
        if (error) throw out(new Error(JSON.stringify(error).slice(0, 1_000)))
        if (timedOut || (shards?.failed ?? 0) > 0) throw out(new Error('a search took too long, or failed in part'))
      }
      return responses
    },

    /**
     * Returns the indexes that changes go to: the complete one, and one that is being built. As it
     * was at most `targetsAgeMs` ago.
     */
    async writeTargets(): Promise<string[]> {
      if (!targets || Date.now() - targets.since > targetsAgeMs) {
        const names = list().then((indexes) => indexes.map(({ name }) => name))
        const own = { since: Date.now(), names }
        targets = own
        names.catch(() => {
          if (targets === own) targets = undefined
        })
      }
      return targets.names
    },

    /** Asks for the indexes again before the next change. */
    forgetTargets() {
      targets = undefined
    },

    /**
     * Writes changes to an index, and returns what became of each. A version that is not later than
     * what is there changes nothing. `failed`: again later.
     */
    async write(index: string, changes: Change[]): Promise<Written[]> {
      const lines = changes.map(({ id, version, document }) => {
        const target = { _index: writesOf(index), _id: id, version, version_type: 'external' }
        return document
          ? `${JSON.stringify({ index: target })}\n${JSON.stringify(document)}\n`
          : `${JSON.stringify({ delete: target })}\n`
      })
      const kept = 'items.*.status,items.*.error.type,items.*.error.reason'
      // Through an alias, or else a write to an index that was just removed would create it again.
      const { body } = await call('POST', `/_bulk?require_alias=true&filter_path=${kept}`, lines.join(''))
      const { items } = bulkSchema.parse(body)
      return changes.map(({ id }, n): Written => {
        const result = Object.values(items[n] ?? {})[0]
        const status = result?.status ?? 0
        if (status === 409) return 'stale'
        // 404: there is nothing to delete, or no such index.
        if (status === 200 || status === 201 || (status === 404 && !result?.error)) return 'written'
        if (status !== 400) return 'failed'
        log.error({ productId: id, index, error: result?.error }, 'the index refused a product')
        return 'refused'
      })
    },

    /** Returns the name of the index with a number. */
    nameOf: (number: number) => `${searched}-${number}`,

    /**
     * Creates an index that changes go to from now on; they are not found until it is finished.
     * False if there is one of this name.
     */
    async create(name: string): Promise<boolean> {
      const settings = { ...indexSettings.settings, refresh_interval: '-1' }
      const body = { ...indexSettings, settings, aliases: { [writesOf(name)]: {} } }
      const { status } = await call('PUT', `/${name}`, body, { expected: [400] })
      return status !== 400
    },

    /** Makes this index the one that is searched, at once for all. */
    async swap(name: string): Promise<void> {
      const others = (await list()).filter((index) => index.name !== name && index.searched)
      const actions: object[] = [
        { add: { index: name, alias: searched } },
        ...others.map((index) => ({ remove: { index: index.name, alias: searched } })),
      ]
      await call('POST', '/_aliases', { actions })
    },

    async remove(name: string): Promise<void> {
      await call('DELETE', `/${name}`, undefined, { expected: [404] })
    },

    /** Makes everything in it findable, now and from now on. */
    async finish(name: string): Promise<void> {
      const { refresh_interval: interval } = indexSettings.settings
      await call('PUT', `/${name}/_settings`, { index: { refresh_interval: interval } })
      await call('POST', `/${name}/_refresh`)
    },

    /** How many products the complete index has; 0 without one. */
    async count(): Promise<number> {
      const { body } = await call('GET', `/${searched}/_count?ignore_unavailable=true`)
      return (body as { count: number }).count
    },

    /** Returns the note that replicas share about the last rebuild, with its version. */
    async readNote<T>(schema: z.ZodType<T>): Promise<{ value: T; version: string } | undefined> {
      // Not a GET of the document, whose 404 the circuit breaker would count.
      const { body } = await call('POST', `/${notes}/_mget`, { ids: ['last'] })
      const [{ found, _seq_no: number, _primary_term: term, _source: value }] = notesSchema.parse(body).docs
      return found ? { value: schema.parse(value), version: `if_seq_no=${number}&if_primary_term=${term}` } : undefined
    },

    /** Writes the note if it still has that version (undefined: if there is none). False if not. */
    async writeNote(value: object, version: string | undefined): Promise<boolean> {
      const condition = version ?? 'op_type=create'
      const { status } = await call('PUT', `/${notes}/_doc/last?${condition}`, value, { expected: [409] })
      return status !== 409
    },
  }
}

type Failure = { error?: unknown; timed_out?: boolean; _shards?: { failed: number } }

const ndjson = 'application/x-ndjson'
/** The alias by which changes reach an index. */
const writesOf = (index: string) => `${index}-writes`
const isCutOff = (error: unknown) => error instanceof Error && error.cause instanceof SyntaxError
const out = (cause: unknown) => unavailable('search_unavailable', 'the index is not available right now', cause)
