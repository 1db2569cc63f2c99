import { invalid } from '#lib/errors.ts'
import type { Handlers } from '#lib/grpc-server.ts'
import type { CatalogServiceService, Category as CategoryMessage } from '#protos/shop/catalog/v1/catalog.ts'
import { isCategoryId, parseName, parseNames, type Category } from './category.ts'
import type { CategoryCounts } from './category-counts.ts'
import { categoryNotFound, type CategoryStore } from './category-store.ts'

const maxLimit = 1_000

type CategoryHandlers = Pick<
  Handlers<typeof CatalogServiceService>,
  'listCategories' | 'getCategory' | 'ensureCategory' | 'changeCategory'
>

/**
 * The RPCs of protos/shop/catalog/v1/catalog.proto that are about categories. It lists their
 * errors.
 */
export function createCategoryHandlers(deps: { categories: CategoryStore; counts: CategoryCounts }): CategoryHandlers {
  const { categories, counts } = deps

  async function existing(id: string): Promise<Category> {
    const category = isCategoryId(id) ? await categories.find(id) : undefined
    if (!category) throw categoryNotFound()
    return category
  }

  async function toMessages(found: Category[]): Promise<CategoryMessage[]> {
    const products = await counts.of(found.map(({ id }) => id))
    return found.map((category) => ({ ...category, products: products.get(category.id) }))
  }
  // Who writes has no use for the number, and an import would have thousands counted.
  const written = (category: Category): CategoryMessage => ({ ...category, products: counts.last(category.id) })

  return {
    async listCategories({ parentId, limit, cursor, descendants }) {
      if (limit < 1 || limit > maxLimit) throw invalid('limit', `must be 1 to ${maxLimit}`)
      const after = cursor === '' ? '' : parseCursor(cursor, descendants)
      const parent = parentId === '' ? undefined : await existing(parentId)
      const list = descendants ? categories.descendants : categories.children
      const page = await list(parent, after, limit)
      const nextCursor = page.next === undefined ? '' : cursorAfter(page.next)
      return { categories: await toMessages(page.categories), nextCursor }
    },

    async getCategory({ categoryId }) {
      const category = await existing(categoryId)
      const [ancestors, { categories: children }] = await Promise.all([
        categories.ancestors(category),
        categories.children(category, '', maxLimit),
      ])
      const [message, ...rest] = await toMessages([category, ...ancestors, ...children])
      return {
        category: message,
        ancestors: rest.slice(0, ancestors.length),
        children: rest.slice(ancestors.length),
      }
    },

    async ensureCategory({ names }) {
      return { category: written(await categories.ensure(parseNames(names))) }
    },

    async changeCategory({ categoryId, name, parentId }) {
      if (!isCategoryId(categoryId)) throw categoryNotFound()
      if (parentId && !isCategoryId(parentId)) throw invalid('parentId', 'unknown category')
      const to = { name: name === undefined ? undefined : parseName(name), parentId }
      return { category: written(await categories.change(categoryId, to)) }
    },
  }
}

// A page begins after a key, which is all that a cursor holds.
const cursorAfter = (key: string) => Buffer.from(key).toString('base64url')
const keyPatterns = { descendants: /^(c-[a-z2-7]{10}\/)+$/, children: /^[0-9a-f]*:[a-z2-7]{16}$/ }

function parseCursor(cursor: string, descendants: boolean): string {
  const key = Buffer.from(cursor.slice(0, 400), 'base64url').toString()
  const pattern = descendants ? keyPatterns.descendants : keyPatterns.children
  if (!pattern.test(key) || cursorAfter(key) !== cursor)
    throw invalid('cursor', 'must be the cursor of a previous page', 'bad_cursor')
  return key
}
