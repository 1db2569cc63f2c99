import { AppError, invalid } from '#lib/errors.ts'
import { hashName, textProblem } from './text.ts'

// The tree of categories as a materialised path. No I/O.

export type Category = {
  id: string
  name: string
  /** '' at the top. */
  parentId: string
  /** Ids from the top to this category: c-…/c-…/ */
  path: string
}

const maxDepth = 10
const nameLength = 100
const categoryId = /^c-[a-z2-7]{10}$/

export const isCategoryId = (text: string) => categoryId.test(text)

/** The ids of a category and of all above it, from the top. */
export const idsOfPath = (path: string): string[] => path.split('/').filter((id) => id !== '')

/**
 * The categories along a path of names, from the top. An id is made of all names above it and its
 * own, so that it is the same whoever creates it when. Throws `invalid` naming `names` or
 * `names.<i>`.
 */
export function categoriesOf(names: string[]): Category[] {
  if (names.length < 1 || names.length > maxDepth) throw invalid('names', `must be 1 to ${maxDepth} names`)
  const clean = names.map((name) => (name.length > 4 * nameLength ? name : name.normalize('NFC').trim()))
  const fields = clean.flatMap((name, i) => {
    const message = textProblem(name, { min: 1, max: nameLength })
    return message ? [{ field: `names.${i}`, message }] : []
  })
  if (fields.length > 0)
    throw new AppError('invalid', 'invalid_field', fields.map((f) => `${f.field}: ${f.message}`).join('; '), { fields })

  const categories: Category[] = []
  for (const [i, name] of clean.entries()) {
    const parent = categories.at(-1)
    // No name holds a NUL, so that no two paths of names are hashed alike.
    const id = `c-${hashName(clean.slice(0, i + 1).join('\0'), 10)}`
    categories.push({ id, name, parentId: parent?.id ?? '', path: `${parent?.path ?? ''}${id}/` })
  }
  return categories
}
