import { AppError, toAppError, type FieldError } from '#lib/errors.ts'
import { groupsOf } from '#lib/groups.ts'
import type { CallOptions } from '#lib/dapr.ts'
import type { ProductInput } from '#protos/shop/catalog/v1/catalog.ts'
import type { Clients } from '../clients.ts'
import type { Line, LineRefusal } from '../http/body-lines.ts'
import { actorOf, type User } from '../http/operation.ts'

// Many products with their stock, through the bulk calls of catalog and inventory.

export const bulkBudgetMs = 20_000

// A call stays well within the sidecars' time-out of 2.5 s, also while several requests are worked
// on: 100 products take some 100 ms.
const productsPerCall = 100
const bytesPerCall = 1024 * 1024
const callTimeoutMs = 2_400
/** While the stock of one part is set, the products of the next are written. */
const callsAtOnce = 2

export type ProductLine = Omit<ProductInput, 'variants'> & {
  variants: (ProductInput['variants'][number] & { stock?: number | undefined })[]
}

export type LineAnswer = {
  line: number
  handle: string | null
  id: string | null
  outcome: 'created' | 'replaced' | 'unchanged' | 'refused' | 'failed'
  problem: LineRefusal | null
}

type Part = { line: number; product: ProductLine }[]

/**
 * Writes products, and then the stock of those that were written. Returns an answer for each line,
 * in their order. Throws only if nothing could be written because something is unavailable.
 */
export async function writeProducts(
  { catalog, inventory }: Pick<Clients, 'catalog' | 'inventory'>,
  { lines, source, user, call }: { lines: Line<ProductLine>[]; source: string; user: User; call: CallOptions },
): Promise<LineAnswer[]> {
  const answers = new Map<number, LineAnswer>()
  const good: Part = []
  const handles = new Set<string>()
  for (const each of lines) {
    const { line } = each
    if ('refusal' in each)
      answers.set(line, { line, handle: null, id: null, outcome: 'refused', problem: each.refusal })
    else if (handles.has(each.value.handle)) answers.set(line, repeatedHandle(line, each.value.handle))
    else {
      handles.add(each.value.handle)
      good.push({ line, product: each.value })
    }
  }

  const parts = groupsOf(good, {
    sizeOf: ({ product }) => JSON.stringify(product).length,
    size: bytesPerCall,
    count: productsPerCall,
  })
  let failure: unknown
  let succeeded = parts.length === 0
  const work = async () => {
    for (let part = parts.shift(); part; part = parts.shift()) {
      try {
        for (const answer of await writePart(part)) answers.set(answer.line, answer)
        succeeded = true
      } catch (error) {
        failure = error
        const { kind, code, message } = toAppError(error)
        if (kind !== 'unavailable' && kind !== 'timeout' && kind !== 'conflict') throw error
        for (const { line, product } of part)
          answers.set(line, {
            line,
            handle: product.handle,
            id: null,
            outcome: 'failed',
            problem: { code, detail: message, errors: [] },
          })
      }
    }
  }
  await Promise.all(Array.from({ length: callsAtOnce }, work))
  if (!succeeded) throw failure
  return lines.map(({ line }) => answers.get(line)!)

  async function writePart(part: Part): Promise<LineAnswer[]> {
    const { results } = await catalog.bulkReplaceProducts(
      { products: part.map(({ product }) => product), ...actorOf(user) },
      limitedBy(call),
    )
    const written = part.map(({ line, product }, i): LineAnswer => {
      const { productId, outcome, code, errors } = results[i]!
      const refused = outcome === 'refused'
      return {
        line,
        handle: product.handle,
        id: refused ? null : productId,
        outcome: outcome as LineAnswer['outcome'],
        problem: refused ? problemOf(code, errors) : null,
      }
    })
    const stocked = written.flatMap((answer, i) => {
      const supplies = part[i]!.product.variants.flatMap(({ sku, stock }) =>
        stock === undefined ? [] : [{ sku, quantity: stock }],
      )
      return answer.id !== null && supplies.length > 0 ? [{ answer, supplies }] : []
    })
    if (stocked.length === 0) return written
    const groups = stocked.map(({ supplies }) => ({ supplies }))
    const set = await inventory.bulkSetSupply({ source, groups }, limitedBy(call))
    for (const [i, { answer }] of stocked.entries()) {
      const { code, message } = set.results[i]!
      if (code !== '') answer.problem = { code, detail: message, errors: [{ field: 'variants', message }] }
    }
    return written
  }
}

const limitedBy = (call: CallOptions): CallOptions => {
  const { timeoutMs = callTimeoutMs } = call
  if (timeoutMs <= 1) throw new AppError('timeout', 'timeout', 'the request took too long; send this line again')
  return { timeoutMs: Math.min(callTimeoutMs, timeoutMs) }
}

const problemOf = (code: string, errors: FieldError[]): LineRefusal => ({
  code,
  detail: errors.map(({ field, message }) => `${field}: ${message}`).join('; '),
  errors,
})

const repeatedHandle = (line: number, handle: string): LineAnswer => ({
  line,
  handle,
  id: null,
  outcome: 'refused',
  problem: problemOf('invalid_field', [{ field: 'handle', message: 'must not be repeated in one request' }]),
})
