import { ApiError, type Api } from './api-client.ts'
import type { Problem } from './csv-rows.ts'
import { placeOf, type ImportedProduct } from './shopify-product.ts'
import { hashedSku } from './sku.ts'

export type Uploaded = {
  /** Absent when the shop refused the product. */
  created?: boolean
  /** How many variants have their stock. */
  stocked: number
  complete: boolean
}

/**
 * Returns a function that sends a product and the stock of its variants. What the shop refuses goes
 * to `report` with the line it came from; everything else is thrown.
 */
export function createUpload(api: Api, report: (problem: Problem) => void) {
  const categoryId = categoryIds(api)

  return async (product: ImportedProduct): Promise<Uploaded> => {
    const accepted = reportRefusals(product, report)
    const id = await accepted(categoryId(product.category))
    if (id === undefined) return { stocked: 0, complete: false }
    const { handle, title, description, vendor, images, attributes, published } = product
    const put = () =>
      api.put(`/v1/products/${handle}`, {
        title,
        description,
        vendor,
        categoryId: id,
        images,
        attributes,
        published,
        variants: product.variants.map(({ sku, options, price }) => ({ sku, options, price })),
      })
    const answer = await accepted(
      put().catch((error: unknown) => {
        if (!renameTaken(product, error)) throw error
        return put()
      }),
    )
    if (!answer) return { stocked: 0, complete: false }
    let stocked = 0
    for (const { sku, quantity, line } of product.variants) {
      const request = api.put(`/v1/stock/${encodeURIComponent(sku)}`, { source: 'import', quantity })
      if (await accepted(request, { line, field: 'Variant Inventory Qty' })) stocked++
    }
    return { created: answer.status === 201, stocked, complete: stocked === product.variants.length }
  }
}

/** Returns a category's id by its path of names; each path is requested once. */
function categoryIds(api: Api): (names: string[]) => Promise<string> {
  const ids = new Map<string, Promise<string>>()
  return (names) => {
    if (names.length === 0) return Promise.resolve('')
    const key = JSON.stringify(names)
    const id = ids.get(key) ?? api.post<{ id: string }>('/v1/categories', { path: names }).then(({ body }) => body.id)
    ids.set(key, id)
    return id
  }
}

/**
 * Where derived SKUs belong to another product, gives the variants their longer SKUs, which are the
 * same at each import. Returns false if the error has another reason.
 */
function renameTaken(product: ImportedProduct, error: unknown): boolean {
  if (!(error instanceof ApiError) || error.problem.code !== 'sku_taken') return false
  const taken = (error.problem.errors ?? []).flatMap(
    ({ field }) => product.variants[Number(/^variants\.(\d+)\.sku$/.exec(field)?.[1])] ?? [],
  )
  if (taken.length === 0 || taken.some(({ derived }) => !derived)) return false
  for (const variant of taken) variant.sku = hashedSku(variant.sku, Object.values(variant.options))
  return true
}

/** Awaits a request. Returns undefined when the shop refuses it for what is in the file. */
const reportRefusals =
  (product: ImportedProduct, report: (problem: Problem) => void) =>
  async <T>(request: Promise<T>, at?: { line: number; field: string }): Promise<T | undefined> => {
    try {
      return await request
    } catch (error) {
      if (!(error instanceof ApiError) || ![400, 404, 409, 413, 422].includes(error.problem.status)) throw error
      const { errors = [], detail } = error.problem
      if (at || errors.length === 0) report({ ...(at ?? { line: product.line, field: 'Handle' }), message: detail })
      else for (const { field, message } of errors) report({ ...placeOf(field, product), message })
      return undefined
    }
  }
