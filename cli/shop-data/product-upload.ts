import { setTimeout as delay } from 'node:timers/promises'
import { ApiError, type Api } from './api-client.ts'
import type { Problem } from './csv-rows.ts'
import { inParallel } from './in-parallel.ts'
import { placeOf, type ImportedProduct } from './shopify-product.ts'
import { hashedSku } from './sku.ts'

/** A line of POST /v1/products:bulk. */
export type ProductLine = {
  handle: string
  title: string
  description: string
  vendor: string
  categoryId: string
  images: string[]
  attributes: Record<string, unknown>
  published: boolean
  variants: {
    sku: string
    options: Record<string, string>
    price: { amount: number; currency: string }
    stock: number
  }[]
}

/** What became of a line. `problem` may be about its stock alone. */
export type LineAnswer = {
  handle: string | null
  id: string | null
  outcome: 'created' | 'replaced' | 'unchanged' | 'refused' | 'failed'
  problem: { code: string; detail: string; errors: { field: string; message: string }[] } | null
}

/** How much one request has; the shop takes more, but smaller requests fill the pauses between. */
export const requestLimits = { products: 200, bytes: 2 * 1024 * 1024 }
/** Requests at a time: while one is on its way, another is worked on. */
export const requestsAtOnce = 4
const retryForMs = 120_000

/**
 * Sends products with their stock in one request. Repeats the lines that failed because something
 * was unavailable. Returns what became of each. Throws when that does not help.
 */
export async function sendProducts(api: Api, source: string, lines: ProductLine[]): Promise<LineAnswer[]> {
  const answers: LineAnswer[] = []
  let open = lines.map((line, i) => ({ line, i }))
  const giveUpAt = Date.now() + retryForMs
  for (let attempt = 1; ; attempt++) {
    const path = `/v1/products:bulk?source=${encodeURIComponent(source)}`
    const { body } = await api.postLines<LineAnswer>(
      path,
      open.map(({ line }) => line),
    )
    for (const [at, { i }] of open.entries()) answers[i] = body[at]!
    open = open.filter(({ i }) => isTransient(answers[i]!))
    if (open.length === 0) return answers
    if (Date.now() > giveUpAt) {
      const { handle, problem } = answers[open[0]!.i]!
      throw new Error(`${handle}: ${problem?.code}: ${problem?.detail}`)
    }
    await delay(Math.random() * Math.min(2_000, 100 * 2 ** attempt))
  }
}

const isTransient = ({ outcome, problem }: LineAnswer) =>
  outcome === 'failed' || problem?.code === 'conflict' || problem?.code === 'etag_mismatch'

/** Divides products into lists that fit into a request. */
export async function* inRequests<T>(products: AsyncIterable<T>): AsyncGenerator<T[]> {
  let group: T[] = []
  let bytes = 0
  for await (const product of products) {
    const size = Buffer.byteLength(JSON.stringify(product))
    if (group.length === requestLimits.products || (group.length > 0 && bytes + size > requestLimits.bytes)) {
      yield group
      group = []
      bytes = 0
    }
    group.push(product)
    bytes += size
  }
  if (group.length > 0) yield group
}

const categoriesAtOnce = 8

/**
 * Returns the ids of categories by their paths of names ('' for an empty path), in their order;
 * `refused`: why there is no such category. Each path is requested once.
 */
export function categoryIds(api: Api): (paths: string[][]) => Promise<({ id: string } | { refused: ApiError })[]> {
  const known = new Map<string, Promise<{ id: string } | { refused: ApiError }>>()
  const request = async (path: string[]) => {
    try {
      const { body } = await api.post<{ id: string }>('/v1/categories', { path })
      return { id: body.id }
    } catch (error) {
      if (error instanceof ApiError && [400, 413, 422].includes(error.problem.status)) return { refused: error }
      throw error
    }
  }
  const find = (path: string[]) => {
    if (path.length === 0) return Promise.resolve({ id: '' })
    const key = JSON.stringify(path)
    const found = known.get(key) ?? request(path)
    known.set(key, found)
    return found
  }
  return async (paths) => {
    const different = new Map(paths.map((path) => [JSON.stringify(path), path]))
    await inParallel(different.values(), categoriesAtOnce, async (path) => void (await find(path)))
    return Promise.all(paths.map(find))
  }
}

export type Uploaded = {
  outcome: LineAnswer['outcome']
  /** How many variants have their stock. */
  stocked: number
  complete: boolean
}

/**
 * Returns a function that sends the products of a file and the stock of their variants. What the
 * shop refuses goes to `report` with the line it came from; everything else is thrown.
 */
export function createUpload(api: Api, report: (problem: Problem) => void) {
  const categories = categoryIds(api)

  const send = async (some: { product: ImportedProduct; categoryId: string }[]) =>
    some.length === 0 ? [] : sendProducts(api, 'import', some.map(toLine))

  return async (products: ImportedProduct[]): Promise<Uploaded[]> => {
    const found = await categories(products.map(({ category }) => category))
    const refuse = (product: ImportedProduct, { errors = [], detail }: NonNullable<LineAnswer['problem']>) => {
      const fields = errors.length > 0 ? errors : [{ field: 'handle', message: detail }]
      for (const { field, message } of fields) report({ ...placeOf(field, product), message })
    }
    const sent = products.flatMap((product, i) => {
      const category = found[i]!
      if ('id' in category) return [{ product, categoryId: category.id, i }]
      refuse(product, { errors: [], ...category.refused.problem })
      return []
    })
    const answers = await send(sent)
    const renamed = sent.flatMap((each, at) => (renameTaken(each.product, answers[at]!) ? [{ ...each, at }] : []))
    const again = await send(renamed)
    for (const [n, { at }] of renamed.entries()) answers[at] = again[n]!

    const uploaded = products.map((): Uploaded => ({ outcome: 'refused', stocked: 0, complete: false }))
    for (const [at, { product, i }] of sent.entries()) {
      const { outcome, problem } = answers[at]!
      if (problem === null) uploaded[i] = { outcome, stocked: product.variants.length, complete: true }
      else {
        refuse(product, problem)
        uploaded[i] = { outcome, stocked: 0, complete: false }
      }
    }
    return uploaded
  }
}

function toLine({ product, categoryId }: { product: ImportedProduct; categoryId: string }): ProductLine {
  const { handle, title, description, vendor, images, attributes, published, variants } = product
  return {
    handle,
    title,
    description,
    vendor,
    categoryId,
    images,
    attributes,
    published,
    variants: variants.map(({ sku, options, price, quantity }) => ({ sku, options, price, stock: quantity })),
  }
}

/**
 * Where derived SKUs belong to another product, gives the variants their longer SKUs, which are the
 * same at each import. Returns false if the refusal has another reason.
 */
function renameTaken(product: ImportedProduct, { problem }: LineAnswer): boolean {
  if (problem?.code !== 'sku_taken') return false
  const taken = problem.errors.flatMap(
    ({ field }) => product.variants[Number(/^variants\.(\d+)\.sku$/.exec(field)?.[1])] ?? [],
  )
  if (taken.length === 0 || taken.some(({ derived }) => !derived)) return false
  for (const variant of taken) variant.sku = hashedSku(variant.sku, Object.values(variant.options))
  return true
}
