import * as z from 'zod'
import { createBatches, type Draft } from '#lib/batches.ts'
import type { Dapr } from '#lib/dapr.ts'
import { AppError, invalid, notFound, rejected } from '#lib/errors.ts'
import {
  below,
  categorySchema,
  idsOfPath,
  maxDepth,
  moveCategory,
  nameKey,
  newCategoryId,
  type Category,
} from './category.ts'

// Each category has three rows: one by its id, one whose key is its path, and one whose key is its
// parent and name. So a subtree is a range of the primary key, as are the children of a category by
// name, and no two of those have one name.
const categoryKey = (id: string) => `category:{tree}:${id}`
const pathPrefix = 'path:{tree}:'
const pathKey = (path: string) => pathPrefix + path
const childPrefix = (parentId: string) => `child:{tree}:${parentId}:`
const childKey = (parentId: string, name: string) => childPrefix(parentId) + nameKey(name)
/** Each change of the tree writes this row: no two are made at once. */
const treeKey = 'tree:{tree}'

const treeSchema = z.object({ version: z.int() })
const childSchema = z.object({ id: z.string(), name: z.string() })

/** Dapr puts the app id before every key. */
const stored = (key: string) => `catalog||${key}`
// One line: the binding echoes a statement in a response header. Keys have no character that LIKE
// knows, so it reads a range of the primary key.
const text = (column: string, length: number) => `CAST(${column} AS CHAR(${length}) CHARACTER SET utf8mb4)`
// Not JSON_UNQUOTE, which loses what is outside the basic plane on MariaDB.
const field = (name: string) => text(`JSON_VALUE(value, '$.${name}')`, 200)
const live = '(expiredate IS NULL OR expiredate > CURRENT_TIMESTAMP)'
/** Exported for its test. */
export const rangeQuery = [
  `SELECT ${text('id', 400)} AS stored_key, ${field('name')} AS name, ${field('id')} AS category FROM state`,
  `WHERE id LIKE ? AND id > ? AND ${live} ORDER BY id LIMIT ?`,
].join(' ')
const rows = z.array(z.object({ stored_key: z.string(), name: z.string(), category: z.string() })).nullish()
type Row = { key: string; name: string; id: string }

export type CategoryPage = { categories: Category[]; next: string | undefined }

const pageSize = 1_000
/** A move of more categories would not fit into one message. */
export const maxMoved = 5_000
const maxAttempts = 10

const maxCached = 10_000
/** For so long a replica may still see a category where it was before another replica moved it. */
export const cachedMs = 1_000

/** Of a decision: what was read before it has changed. */
const stale = 'stale'
const taken = 'taken'

export type CategoryStore = ReturnType<typeof createCategoryStore>

/**
 * Creates the store of the category tree, in MySQL. Everything throws `unavailable` while the
 * database is unavailable.
 */
export function createCategoryStore({ dapr, now }: { dapr: Pick<Dapr, 'state' | 'binding'>; now: () => number }) {
  const state = dapr.state('catalog-tree')
  const batches = createBatches(state)
  const cache = new Map<string, { category: Category; until: number }>()

  async function range(prefix: string, after: string, limit: number): Promise<Row[]> {
    const params = JSON.stringify([`${stored(prefix)}%`, stored(prefix + after), limit])
    const found = await dapr.binding('catalog-tree-ranges', 'query', { metadata: { sql: rangeQuery, params } })
    return (rows.parse(found) ?? []).map(({ stored_key: key, name, category }) => ({
      key: key.slice(stored(prefix).length),
      name,
      id: category,
    }))
  }

  function remember(category: Category): void {
    if (cache.size >= maxCached) cache.clear()
    cache.set(category.id, { category, until: now() + cachedMs })
  }

  const read = async (id: string): Promise<Category | undefined> =>
    (await state.get(categoryKey(id), categorySchema))?.value

  /** Returns the child of this name, as it is stored now. */
  async function childNamed(parent: Category | undefined, name: string): Promise<Category | undefined> {
    const found = await state.get(childKey(parent?.id ?? '', name), childSchema)
    return found && below(parent, found.value)
  }

  /** Returns a page of the categories below a path, parents before their children. */
  async function descendants(path: string, after: string, limit: number): Promise<CategoryPage> {
    const found = await range(pathKey(path), after, limit + 1)
    const categories = found.slice(0, limit).map(({ key, name }) => categoryAt(path + key, name))
    return { categories, next: found.length > limit ? found[limit - 1]!.key : undefined }
  }

  /** Returns all categories below one. Throws `rejected` category_too_large. */
  async function subtreeOf({ path }: Category): Promise<Category[]> {
    const all: Category[] = []
    for (let after = ''; ;) {
      const { categories, next } = await descendants(path, after, pageSize)
      all.push(...categories)
      if (all.length > maxMoved)
        throw rejected('category_too_large', `has more than ${maxMoved} categories below it; move them in parts`)
      if (next === undefined) return all
      after = next
    }
  }

  function put(draft: Draft, category: Category): void {
    draft.put(categoryKey(category.id), category)
    draft.put(pathKey(category.path), { id: category.id, name: category.name })
  }

  const versionOf = (draft: Draft) => draft.get(treeKey, treeSchema)?.version ?? 0

  /** `former`: as it was before; absent for a new one. */
  function changed(draft: Draft, category: Category, former?: Category): void {
    const version = versionOf(draft) + 1
    draft.put(treeKey, { version })
    const { id: categoryId, name, parentId, path } = category
    const data = { categoryId, name, parentId, path, formerPath: former?.path ?? null, version }
    draft.publish({ type: 'categories.category-changed.v1', key: categoryId, data })
  }

  /** Runs until what it has read is still so when it commits. Throws `conflict`. */
  async function untilCurrent<R>(work: () => Promise<R | typeof stale>): Promise<R> {
    for (let attempt = 0; attempt < maxAttempts; attempt++) {
      const result = await work()
      if (result !== stale) return result
    }
    throw new AppError('conflict', 'conflict', 'the tree was changed by other requests at the same time')
  }

  /** `attempt`: which of their possible ids the new ones have. `taken`: another has one of them. */
  async function create(
    names: string[],
    known: Category[],
    attempt: number,
  ): Promise<Category | typeof stale | typeof taken> {
    const parent = known.at(-1)
    const added: Category[] = []
    for (let i = known.length; i < names.length; i++) {
      const id = newCategoryId(names.slice(0, i + 1), attempt)
      added.push(below(added.at(-1) ?? parent, { id, name: names[i]! }))
    }
    const childKeys = added.map(({ parentId, name }) => childKey(parentId, name))
    return batches.commit<Category | typeof stale | typeof taken>({
      keys: [
        treeKey,
        ...(parent ? [categoryKey(parent.id)] : []),
        ...childKeys,
        ...added.map(({ id }) => categoryKey(id)),
      ],
      decide(draft) {
        if (parent && draft.get(categoryKey(parent.id), categorySchema)?.path !== parent.path) return stale
        if (draft.get(childKeys[0]!, childSchema)) return stale
        if (added.some(({ id }) => draft.get(categoryKey(id), categorySchema))) return taken
        for (const [i, category] of added.entries()) {
          put(draft, category)
          draft.put(childKeys[i]!, { id: category.id, name: category.name })
          changed(draft, category)
        }
        return added.at(-1)!
      },
    })
  }

  return {
    /** Returns the category with this id, as it was at most a second ago, or undefined. */
    async find(id: string): Promise<Category | undefined> {
      const known = cache.get(id)
      if (known && known.until > now()) return known.category
      const category = await read(id)
      if (category) remember(category)
      return category
    },

    /** Returns the categories above one, from the top. */
    async ancestors(category: Category): Promise<Category[]> {
      const ids = idsOfPath(category.path).slice(0, -1)
      const found = await state.bulkGet(ids.map(categoryKey), categorySchema)
      return ids.flatMap((id) => found.get(categoryKey(id))?.value ?? [])
    },

    /** Returns a page of the categories directly below one, or below the top, by name. */
    async children(parent: Category | undefined, after: string, limit: number): Promise<CategoryPage> {
      const found = await range(childPrefix(parent?.id ?? ''), after, limit + 1)
      const categories = found.slice(0, limit).map((row) => below(parent, row))
      return { categories, next: found.length > limit ? found[limit - 1]!.key : undefined }
    },

    /** Returns a page of all categories below one or the top, parents before their children. */
    descendants: (parent: Category | undefined, after: string, limit: number): Promise<CategoryPage> =>
      descendants(parent?.path ?? '', after, limit),

    /** Returns a category as it is stored now, and all below it; nothing if there is none. */
    async subtree(id: string): Promise<Category[]> {
      const category = await read(id)
      return category ? [category, ...(await subtreeOf(category))] : []
    },

    /**
     * Returns the category at the end of a path of names, and creates it and those above it if they
     * are missing. Repeated and concurrent calls are harmless.
     */
    async ensure(names: string[]): Promise<Category> {
      let attempt = 0
      return untilCurrent(async () => {
        const known: Category[] = []
        for (const name of names) {
          const next = await childNamed(known.at(-1), name)
          if (!next) {
            const created = await create(names, known, attempt)
            if (created !== taken) return created
            attempt++
            return stale
          }
          known.push(next)
        }
        return known.at(-1)!
      })
    },

    /**
     * Renames a category, or moves it with all below it (`parentId` empty: to the top), or both, in
     * one transaction. Throws `not_found`, `invalid` parentId, `exists` category_exists, and
     * `rejected` category_cycle, category_too_deep or category_too_large.
     */
    change: (id: string, to: { name?: string | undefined; parentId?: string | undefined }): Promise<Category> =>
      untilCurrent(async () => {
        const version = (await state.get(treeKey, treeSchema))?.value.version ?? 0
        const before = await read(id)
        if (!before) throw categoryNotFound()
        const { name = before.name, parentId = before.parentId } = to
        const parent = parentId === '' ? undefined : await read(parentId)
        if (parentId !== '' && !parent) throw invalid('parentId', 'unknown category')
        const subtree = parentId === before.parentId ? [] : await subtreeOf(before)
        const decision = moveCategory(before, subtree, { name, parent })
        if (decision.outcome === 'rejected') throw refused(decision.reason)
        const [category] = decision.categories as [Category]
        const [from, to_] = [childKey(before.parentId, before.name), childKey(parentId, name)]

        const result = await batches.commit<Category | typeof stale>({
          keys: [treeKey, categoryKey(id), from, to_],
          decide(draft) {
            // Nothing was changed since all of that was read, so none of it was.
            if (versionOf(draft) !== version) return stale
            if (from === to_) return before
            if (draft.get(to_, childSchema)) throw categoryExists()
            draft.delete(from)
            draft.put(to_, { id, name })
            if (category.path !== before.path) for (const each of [before, ...subtree]) draft.delete(pathKey(each.path))
            for (const each of decision.categories) put(draft, each)
            changed(draft, category, before)
            return category
          },
        })
        cache.clear()
        return result
      }),
  }
}

function categoryAt(path: string, name: string): Category {
  const ids = idsOfPath(path)
  return { id: ids.at(-1)!, name, parentId: ids.at(-2) ?? '', path }
}

export const categoryNotFound = () => notFound('category_not_found', 'unknown category')

const categoryExists = () =>
  new AppError('exists', 'category_exists', 'the parent has a category of this name', {
    fields: [{ field: 'name', message: 'is the name of another category there' }],
  })

const refused = (reason: 'cycle' | 'too_deep') =>
  reason === 'cycle'
    ? rejected('category_cycle', 'the new parent is below the category', [
        { field: 'parentId', message: 'must not be the category itself, nor below it' },
      ])
    : rejected('category_too_deep', `the tree would have more than ${maxDepth} levels`, [
        { field: 'parentId', message: 'is too far from the top' },
      ])
