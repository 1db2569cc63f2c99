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

const maxDepth = 10
const nameRule = { min: 1, max: 100 }
const categoryIdPattern = /^c-[a-z2-7]{10}$/

export const isCategoryId = (text: string) => categoryIdPattern.test(text)

/** Returns the ids in a category's path, from the top. */
export const idsOfPath = (path: string): string[] => path.split('/').filter((id) => id !== '')

/**
 * Returns the categories along a path of names, from the top. An id depends only on the names from
 * the top to its own, so creating a category twice makes one. Throws `invalid` naming `names` or
 * `names.<i>`.
 */
export function categoriesOf(names: string[]): Category[] {
  if (names.length < 1 || names.length > maxDepth) throw invalid('names', `must have 1 to ${maxDepth} names`)
  const clean = names.map((name) => normaliseLine(name, nameRule))
  const fields = clean.flatMap((name, i) => {
    const message = textProblem(name, nameRule)
    return message ? [{ field: `names.${i}`, message }] : []
  })
  if (fields.length > 0) throw invalidFields(fields)

  const categories: Category[] = []
  for (const [i, name] of clean.entries()) {
    const parent = categories.at(-1)
    // No name contains a NUL, so no two paths hash the same text.
    const id = `c-${hashName(clean.slice(0, i + 1).join('\0'), 10)}`
    categories.push({ id, name, parentId: parent?.id ?? '', path: `${parent?.path ?? ''}${id}/` })
  }
  return categories
}
