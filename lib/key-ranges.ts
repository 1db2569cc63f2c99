import * as z from 'zod'
import type { Dapr } from './dapr.ts'

// Dapr's state API finds nothing but by key. What a service has to find otherwise (due work, a
// shopper's orders) has rows of its own in the store, whose keys sort as they are searched for:
// a search is then a range of the primary key, whatever the size of the table.

const rows = z.array(z.object({ id: z.string() })).nullish()

/**
 * Returns the key of a row that says: this is to be looked at, at that time. It is deleted or
 * replaced in the transaction that does what was due.
 */
export const dueKey = ({ queue, at, tag, id }: Omit<DueRow, 'key'>): string => `due:${queue}:${at}:{${tag}}:${id}`

/** `at`: RFC 3339 with milliseconds, in UTC. `tag`: the hash tag of what is due. */
export type DueRow = { key: string; queue: string; at: string; tag: string; id: string }

export type KeyRanges = ReturnType<typeof createKeyRanges>

/**
 * Creates the searches over the keys of a service's MySQL state store. `binding` is a
 * `bindings.mysql` component on the same database; `appId` is what Dapr puts before every key.
 * Everything throws `unavailable` while the database is unavailable.
 */
export function createKeyRanges(deps: { dapr: Pick<Dapr, 'binding'>; binding: string; appId: string }) {
  const { dapr, binding, appId } = deps
  // One line: the binding echoes a statement in a response header.
  const live = '(expiredate IS NULL OR expiredate > CURRENT_TIMESTAMP)'
  const select = `SELECT CAST(id AS CHAR CHARACTER SET ascii) AS id FROM state WHERE ${live} AND`

  async function keys(condition: string, params: (string | number)[]): Promise<string[]> {
    const sql = `${select} ${condition}`
    const found = await dapr.binding(binding, 'query', { metadata: { sql, params: JSON.stringify(params) } })
    return (rows.parse(found) ?? []).map(({ id }) => id.slice(appId.length + 2))
  }
  const stored = (key: string) => `${appId}||${key}`

  return {
    /** Returns up to `limit` rows of a queue that are due by the database's clock, oldest first. */
    async due(queue: string, limit: number): Promise<DueRow[]> {
      const now = "DATE_FORMAT(UTC_TIMESTAMP(3), '%Y-%m-%dT%H:%i:%s.%f')"
      const prefix = stored(`due:${queue}:`)
      const found = await keys(`id > ? AND id < CONCAT(?, ${now}) ORDER BY id LIMIT ?`, [prefix, prefix, limit])
      return found.map(parseDueKey)
    },

    /** Returns the row of a queue that is due first, now or later; undefined if there is none. */
    async nextDue(queue: string): Promise<DueRow | undefined> {
      const [key] = await keys('id >= ? AND id < ? ORDER BY id LIMIT 1', [
        stored(`due:${queue}:`),
        stored(`due:${queue}:~`),
      ])
      return key === undefined ? undefined : parseDueKey(key)
    },

    /** Returns up to `limit` keys that begin with `prefix` and sort below `before`, backwards. */
    async before(prefix: string, before: string, limit: number): Promise<string[]> {
      return keys('id >= ? AND id < ? ORDER BY id DESC LIMIT ?', [stored(prefix), stored(before), limit])
    },
  }
}

const duePattern = /^due:([^:]+):([\d-]+T[\d:.]+Z):\{([^}]+)\}:(.+)$/

/** Returns what a key made by `dueKey` says. */
function parseDueKey(key: string): DueRow {
  const match = duePattern.exec(key)
  if (!match) throw new Error(`not the key of a due row: ${key}`)
  const [, queue, at, tag, id] = match as unknown as [string, string, string, string, string]
  return { key, queue, at, tag, id }
}
