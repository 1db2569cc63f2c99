import * as z from 'zod'
import type { Category } from '#protos/shop/catalog/v1/catalog.ts'
import type { Clients } from '../clients.ts'
import { operation } from '../http/operation.ts'
import { list, pageLimit, pageOf, paging, renameFields, text, toPage } from '../http/schemas.ts'

const category = z
  .object({
    id: z.string().meta({ examples: ['c-mzxw6ytboi'] }),
    name: z.string().meta({ examples: ['Planters'] }),
    parentId: z
      .string()
      .nullable()
      .meta({ description: 'null for a top-level category', examples: ['c-gezdgnbvgy'] }),
    path: z
      .string()
      .meta({ description: 'The ids from the top down to its own.', examples: ['c-gezdgnbvgy/c-mzxw6ytboi/'] }),
    products: z
      .int()
      .nullable()
      .meta({
        description:
          'Published products of the category and all below it, as counted within the last minute or, in very ' +
          'large catalogues, minutes. null while they are not counted yet.',
        examples: [42],
      }),
  })
  .meta({ id: 'Category' })

const withNeighbours = category
  .extend({
    ancestors: z.array(category).meta({ description: 'From the top to its parent.' }),
    children: z.array(category).meta({ description: 'Its direct children by name, at most 1,000.' }),
  })
  .meta({ id: 'CategoryWithNeighbours' })

const toCategory = ({ id, name, parentId, path, products }: Category): z.infer<typeof category> => ({
  id,
  name,
  parentId: parentId === '' ? null : parentId,
  path,
  products: products ?? null,
})

const categoryId = z.object({ categoryId: text(1, 100).meta({ examples: ['c-gezdgnbvgy'] }) })

export const categories = ({ catalog }: Clients) => [
  operation({
    id: 'listCategories',
    method: 'get',
    path: '/v1/categories',
    tag: 'Catalogue',
    access: 'public',
    summary: 'Categories, parents before their children',
    query: z.strictObject({
      below: text(1, 100).optional().meta({ description: 'Only categories below this one.' }),
      depth: z
        .enum(['1', 'all'])
        .default('all')
        .meta({ description: '`1`: only those directly below it, or only the top ones; by name.' }),
      limit: pageLimit(1_000, 1_000),
      cursor: paging.cursor,
    }),
    notFoundField: 'below',
    responses: { 200: { description: 'A page of categories', schema: pageOf(category) } },
    problems: ['bad_cursor', 'category_not_found'],
    async handle({ query: { below, depth, limit, cursor }, call }) {
      const { categories, nextCursor } = await catalog.listCategories(
        { parentId: below ?? '', descendants: depth === 'all', limit, cursor: cursor ?? '' },
        call,
      )
      return { status: 200, body: toPage(categories.map(toCategory), nextCursor) }
    },
  }),
  operation({
    id: 'getCategory',
    method: 'get',
    path: '/v1/categories/{categoryId}',
    tag: 'Catalogue',
    access: 'public',
    summary: 'A category, the way to it, and its direct children',
    params: categoryId,
    responses: { 200: { description: 'The category', schema: withNeighbours } },
    problems: ['category_not_found'],
    async handle({ params, call }) {
      const { category, ancestors, children } = await catalog.getCategory({ categoryId: params.categoryId }, call)
      return {
        status: 200,
        body: {
          ...toCategory(category!),
          ancestors: ancestors.map(toCategory),
          children: children.map(toCategory),
        } satisfies z.infer<typeof withNeighbours>,
      }
    },
  }),
  operation({
    id: 'ensureCategory',
    method: 'post',
    path: '/v1/categories',
    tag: 'Catalogue',
    access: 'staff',
    summary: 'Find or create a category and its ancestors by a path of names',
    body: z
      .strictObject({
        path: list(text(1, 100), 1, 10).meta({
          description: 'The names from the top down.',
          examples: [['Home & Garden', 'Planters']],
        }),
      })
      .meta({ id: 'CategoryPath' }),
    responses: { 200: { description: 'The category', schema: category } },
    async handle({ body, call }) {
      const { category: found } = await renameFields(catalog.ensureCategory({ names: body.path }, call), (field) =>
        field.replace('names', 'path'),
      )
      return { status: 200, body: toCategory(found!) }
    },
  }),
  operation({
    id: 'changeCategory',
    method: 'patch',
    path: '/v1/categories/{categoryId}',
    tag: 'Catalogue',
    access: 'admin',
    summary: 'Rename a category, or move it with all below it',
    description: 'Its id stays. Its products are in the lists of its new ancestors some seconds later.',
    params: categoryId,
    body: z
      .strictObject({
        name: text(1, 100).meta({ examples: ['Planters'] }),
        parentId: text(1, 100)
          .nullable()
          .meta({ description: 'null moves it to the top.', examples: ['c-gezdgnbvgy'] }),
      })
      .partial()
      .refine((body) => Object.keys(body).length > 0, 'must change at least one field')
      .meta({ id: 'CategoryChange', examples: [{ name: 'Pots & Planters' }] }),
    responses: { 200: { description: 'The changed category', schema: category } },
    problems: ['category_not_found', 'category_exists', 'category_cycle', 'category_too_deep', 'category_too_large'],
    async handle({ params, body: { name, parentId }, call }) {
      const { category: changed } = await catalog.changeCategory(
        { categoryId: params.categoryId, name, parentId: parentId === null ? '' : parentId },
        call,
      )
      return { status: 200, body: toCategory(changed!) }
    },
  }),
]
