import * as z from 'zod'
import type { Dapr } from '#lib/dapr.ts'
import type { Category } from './category.ts'

const rows = z.array(z.object({ id: z.string(), parent_id: z.string(), name: z.string(), path: z.string() })).nullish()

// SQL that MySQL 8.4 and MariaDB share. Each statement is on one line, since the binding echoes it
// in a response header. Ids and paths are ASCII, compared by byte, so `path LIKE 'c-…/%'` reads a
// range of the index.
const ascii = (length: number) => `VARCHAR(${length}) CHARACTER SET ascii COLLATE ascii_bin NOT NULL`
const createTable = [
  `CREATE TABLE IF NOT EXISTS categories (id ${ascii(12)} PRIMARY KEY, parent_id ${ascii(12)},`,
  `name VARCHAR(100) CHARACTER SET utf8mb4 NOT NULL, path ${ascii(130)},`,
  'KEY categories_path (path), KEY categories_parent_id (parent_id)) ENGINE=InnoDB',
].join(' ')
const columns = 'SELECT id, parent_id, name, path FROM categories'
const byId = `${columns} WHERE id = ?`
const byParent = `${columns} WHERE parent_id = ? ORDER BY name, id`
// All ids have one length, so a path's length gives its depth.
const wholeTree = `${columns} ORDER BY LENGTH(path), path`

// A category never changes, so it may be cached.
const maxCached = 10_000

export type CategoryStore = ReturnType<typeof createCategoryStore>

/**
 * Creates the store of the category tree, in MySQL. Everything throws `unavailable` while the
 * database is unavailable.
 */
export function createCategoryStore({ binding }: { binding: Dapr['binding'] }) {
  const known = new Map<string, Category>()
  let table: Promise<unknown> | undefined

  const send = (operation: 'exec' | 'query', sql: string, params: string[]) =>
    binding('catalog-categories', operation, { metadata: { sql, params: JSON.stringify(params) } })

  /**
   * Runs a statement, and creates the table before the first one. A failure is retried by the next.
   */
  async function run(operation: 'exec' | 'query', sql: string, params: string[] = []): Promise<unknown> {
    table ??= send('exec', createTable, []).catch((error) => {
      table = undefined
      throw error
    })
    await table
    return send(operation, sql, params)
  }

  async function query(sql: string, params: string[] = []): Promise<Category[]> {
    const found = rows.parse(await run('query', sql, params)) ?? []
    return found.map(({ parent_id, ...rest }) => ({ ...rest, parentId: parent_id }))
  }

  function remember(category: Category): void {
    if (known.size >= maxCached) known.clear()
    known.set(category.id, category)
  }

  return {
    /** Returns the category with this id, or undefined. */
    async find(id: string): Promise<Category | undefined> {
      const category = known.get(id) ?? (await query(byId, [id]))[0]
      if (category) remember(category)
      return category
    },

    /** Returns the categories directly below one, by name. */
    children: (id: string): Promise<Category[]> => query(byParent, [id]),

    /** Returns the whole tree, parents before their children. */
    all: (): Promise<Category[]> => query(wholeTree),

    /**
     * Creates the missing categories of a path in one statement, so all or none. Repeated or
     * concurrent calls are harmless.
     */
    async ensure(path: Category[]): Promise<void> {
      if (path.every((category) => known.has(category.id))) return
      const values = path.map(() => '(?, ?, ?, ?)').join(', ')
      const params = path.flatMap(({ id, parentId, name, path }) => [id, parentId, name, path])
      // Not INSERT IGNORE, which also ignores text that is too long or outside its character set.
      const columnNames = '(id, parent_id, name, path)'
      const insert = `INSERT INTO categories ${columnNames} VALUES ${values} ON DUPLICATE KEY UPDATE id = id`
      await run('exec', insert, params).catch((error) => {
        // Rows are locked from the top down, so a deadlock is rare. InnoDB has then rolled back
        // this statement and completed the other.
        if (!isDeadlock(error)) throw error
        return run('exec', insert, params)
      })
      for (const category of path) remember(category)
    },
  }
}

const isDeadlock = (error: unknown) =>
  error instanceof Error && error.cause instanceof Error && /Error 1213\b/.test(error.cause.message)
