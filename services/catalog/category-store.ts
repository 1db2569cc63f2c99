import * as z from 'zod'
import type { Dapr } from '#lib/dapr.ts'
import type { Category } from './category.ts'

const rows = z.array(z.object({ id: z.string(), parent_id: z.string(), name: z.string(), path: z.string() })).nullish()

// Each statement on one line: the binding echoes it in a response header. What MySQL 8.4 and
// MariaDB both speak. Ids and paths are ASCII compared byte by byte, so that `path LIKE 'c-…/%'`
// reads a range of the index.
const createTable = `CREATE TABLE IF NOT EXISTS categories (id VARCHAR(12) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY, parent_id VARCHAR(12) CHARACTER SET ascii COLLATE ascii_bin NOT NULL, name VARCHAR(100) CHARACTER SET utf8mb4 NOT NULL, path VARCHAR(130) CHARACTER SET ascii COLLATE ascii_bin NOT NULL, KEY categories_path (path), KEY categories_parent_id (parent_id)) ENGINE=InnoDB`
const columns = 'SELECT id, parent_id, name, path FROM categories'
const byId = `${columns} WHERE id = ?`
const byParent = `${columns} WHERE parent_id = ? ORDER BY name, id`
// Ids are of one length, so that a path's length is its depth.
const wholeTree = `${columns} ORDER BY LENGTH(path), path`

// A category never changes once it is there.
const cached = 10_000

export type CategoryStore = ReturnType<typeof createCategoryStore>

/** The category tree, in MySQL. Everything throws `unavailable` when the database is away. */
export function createCategoryStore(binding: Dapr['binding']) {
  const known = new Map<string, Category>()

  const run = (operation: 'exec' | 'query', sql: string, params: string[] = []) =>
    binding('catalog-categories', operation, { metadata: { sql, params: JSON.stringify(params) } })

  async function query(sql: string, params: string[] = []): Promise<Category[]> {
    const answer = rows.parse(await run('query', sql, params)) ?? []
    return answer.map(({ parent_id, ...rest }) => ({ ...rest, parentId: parent_id }))
  }

  function remember(category: Category): void {
    if (known.size >= cached) known.clear()
    known.set(category.id, category)
  }

  return {
    /** Makes the table unless it is there. */
    createTable: async (): Promise<void> => void (await run('exec', createTable)),

    /** The category with this id, or undefined. */
    async find(id: string): Promise<Category | undefined> {
      const category = known.get(id) ?? (await query(byId, [id]))[0]
      if (category) remember(category)
      return category
    },

    /** The categories directly below one, by name. */
    children: (id: string): Promise<Category[]> => query(byParent, [id]),

    /** The whole tree, parents before their children. */
    all: (): Promise<Category[]> => query(wholeTree),

    /**
     * Makes those of a path's categories that are not there: one statement, so all or none.
     * Harmless when repeated and when two do it at once.
     */
    async ensure(path: Category[]): Promise<void> {
      if (path.every((category) => known.has(category.id))) return
      const values = path.map(() => '(?, ?, ?, ?)').join(', ')
      const params = path.flatMap(({ id, parentId, name, path }) => [id, parentId, name, path])
      // Not INSERT IGNORE, which also ignores what is too long or out of its character set.
      const insert = `INSERT INTO categories (id, parent_id, name, path) VALUES ${values} ON DUPLICATE KEY UPDATE id = id`
      await run('exec', insert, params).catch((error) => {
        // Rows are locked from the top down, so a deadlock is rare; InnoDB then undid this
        // statement, and the other one went through.
        if (!isDeadlock(error)) throw error
        return run('exec', insert, params)
      })
      for (const category of path) remember(category)
    },
  }
}

const isDeadlock = (error: unknown) =>
  error instanceof Error && error.cause instanceof Error && /Error 1213\b/.test(error.cause.message)
