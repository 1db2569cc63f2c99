import * as z from 'zod'
import { invalid, invalidFields } from '#lib/errors.ts'
import { hashName } from '#lib/hash-name.ts'
import { normaliseLine, textProblem } from '#lib/text.ts'

// The category tree, as materialised paths. No I/O.

export type Category = {
  id: string
  name: string
  /** Empty at the top. */
  parentId: string
  /** Ids from the top to this category: c-…/c-…/ */
  path: string
}

export const categorySchema: z.ZodType<Category> = z.object({
  id: z.string(),
  name: z.string(),
  parentId: z.string(),
  path: z.string(),
})

export const maxDepth = 10
const nameRule = { min: 1, max: 100 }
const categoryIdPattern = /^c-[a-z2-7]{10}$/

export const isCategoryId = (text: string) => categoryIdPattern.test(text)

/** Returns the ids in a category's path, from the top. */
export const idsOfPath = (path: string): string[] => path.split('/').filter((id) => id !== '')

/** Returns the category of this name below a parent; without one, at the top. */
export const below = (parent: Category | undefined, { id, name }: Pick<Category, 'id' | 'name'>): Category => ({
  id,
  name,
  parentId: parent?.id ?? '',
  path: `${parent?.path ?? ''}${id}/`,
})

/** Returns a category's name in its one spelling. Throws `invalid` naming `name`. */
export function parseName(text: string): string {
  const name = normaliseLine(text, nameRule)
  const problem = textProblem(name, nameRule)
  if (problem) throw invalid('name', problem)
  return name
}

/**
 * Returns the names along a path from the top, each in its one spelling. Throws `invalid` naming
 * `names` or `names.<i>`.
 */
export function parseNames(names: string[]): string[] {
  if (names.length < 1 || names.length > maxDepth) throw invalid('names', `must have 1 to ${maxDepth} names`)
  const clean = names.map((name) => normaliseLine(name, nameRule))
  const fields = clean.flatMap((name, i) => {
    const message = textProblem(name, nameRule)
    return message ? [{ field: `names.${i}`, message }] : []
  })
  if (fields.length > 0) throw invalidFields(fields)
  return clean
}

/**
 * Returns the id of a new category. It follows from the names from the top to its own, so the same
 * catalogue has the same ids in every shop. A category that was renamed or moved keeps its id: with
 * `attempt`, the next one that a new category of the same names may have.
 */
export const newCategoryId = (names: string[], attempt = 0): string =>
  // No name contains a NUL, so no two paths hash the same text.
  `c-${hashName([...names, ...(attempt === 0 ? [] : ['', String(attempt)])].join('\0'), 10)}`

export type Refusal = 'cycle' | 'too_deep'

/**
 * Decides where a category and those below it are under a new parent (undefined: the top) and name.
 * Returns them with their new paths, itself first. `subtree` are the categories below it.
 */
export function moveCategory(
  category: Category,
  subtree: Category[],
  { name, parent }: { name: string; parent: Category | undefined },
): { outcome: 'moved'; categories: Category[] } | { outcome: 'rejected'; reason: Refusal } {
  if (parent?.path.startsWith(category.path)) return { outcome: 'rejected', reason: 'cycle' }
  const moved = below(parent, { id: category.id, name })
  const categories = [
    moved,
    ...subtree.map((each) => ({ ...each, path: moved.path + each.path.slice(category.path.length) })),
  ]
  if (categories.some(({ path }) => idsOfPath(path).length > maxDepth))
    return { outcome: 'rejected', reason: 'too_deep' }
  return { outcome: 'moved', categories }
}

/** How many bytes of a name, in hexadecimal, its children sort by. */
const sortBytes = 48

/**
 * Returns a text in ASCII by which the children of a category sort by name, and which differs for
 * any two names: upper and lower case sort alike, and long names by their beginning.
 */
export const nameKey = (name: string): string =>
  `${Buffer.from(name.normalize('NFKC').toLowerCase()).subarray(0, sortBytes).toString('hex')}:${hashName(name, 16)}`
