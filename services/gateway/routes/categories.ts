import * as z from 'zod'
import type { Category } from '#protos/shop/catalog/v1/catalog.ts'
import type { Clients } from '../clients.ts'
import { operation } from '../http/operation.ts'
import { list, pageOf, renameFields, text, toPage } from '../http/schemas.ts'

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
  })
  .meta({ id: 'Category' })

const withChildren = category.extend({ children: z.array(category) }).meta({ id: 'CategoryWithChildren' })

const toCategory = ({ id, name, parentId, path }: Category): z.infer<typeof category> => ({
  id,
  name,
  parentId: parentId === '' ? null : parentId,
  path,
})

export const categories = ({ catalog }: Clients) => [
  operation({
    id: 'listCategories',
    method: 'get',
    path: '/v1/categories',
    tag: 'Catalogue',
    access: 'public',
    summary: 'All categories, parents before their children',
    responses: { 200: { description: 'All categories on one page', schema: pageOf(category) } },
    async handle({ call }) {
      const { categories } = await catalog.listCategories({}, call)
      return { status: 200, body: toPage(categories.map(toCategory)) }
    },
  }),
  operation({
    id: 'getCategory',
    method: 'get',
    path: '/v1/categories/{categoryId}',
    tag: 'Catalogue',
    access: 'public',
    summary: 'A category with its direct children',
    params: z.object({ categoryId: text(1, 100).meta({ examples: ['c-gezdgnbvgy'] }) }),
    responses: { 200: { description: 'The category', schema: withChildren } },
    problems: ['category_not_found'],
    async handle({ params, call }) {
      const { category, children } = await catalog.getCategory({ categoryId: params.categoryId }, call)
      return {
        status: 200,
        body: { ...toCategory(category!), children: children.map(toCategory) } satisfies z.infer<typeof withChildren>,
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
]
