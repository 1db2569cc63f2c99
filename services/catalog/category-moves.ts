import * as z from 'zod'
import type { Batches, Draft } from '#lib/batches.ts'
import { ignored, on, type EventHandlers } from '#lib/consumer.ts'
import type { StateStore } from '#lib/dapr.ts'
import type { Logger } from '#lib/logger.ts'
import { idsOfPath } from './category.ts'
import type { CategoryStore } from './category-store.ts'
import { hiddenIn } from './product.ts'
import type { ProductStore } from './product-store.ts'

// When a category moves, the products of it and all below it get new lists (the ids along their
// category's path), each in a transaction with its event. What is to be done is a row of the store:
// a process that ends leaves it to the next one.

const pageSize = 200
const pauseMs = 1_000
/**
 * A second pass begins so long after the first: it finds the products that were being written with
 * the old path meanwhile, which a request does for seconds at most.
 */
const secondPassMs = 15_000

const moveSchema = z.object({
  categoryId: z.string(),
  /** The list that is being read, and how far. */
  list: z.string(),
  after: z.string().nullable(),
  pass: z.int(),
  /** Not before then, in milliseconds since 1970. */
  at: z.number(),
})
type Move = z.infer<typeof moveSchema>
const movesSchema = z.object({ moves: z.array(moveSchema) })
const movesKey = 'moves:{catalog}'

const changedSchema = z.object({ categoryId: z.string(), path: z.string(), formerPath: z.string().nullable() })

const firstPass = (categoryId: string, at: number): Move => ({ categoryId, list: categoryId, after: null, pass: 1, at })

/** Returns what is left of a move after a page. Undefined: nothing. */
export function afterPage(move: Move, next: string | undefined, now: number): Move | undefined {
  const { categoryId, list, pass } = move
  if (next !== undefined) return { ...move, after: next }
  if (list === categoryId) return { ...move, list: hiddenIn(categoryId), after: null }
  return pass === 1 ? { ...firstPass(categoryId, now + secondPassMs), pass: 2 } : undefined
}

/** Creates the handlers of topic `categories`. */
export function createCategoryEventHandlers({ now }: { now: () => number }): EventHandlers {
  return {
    'categories.category-changed.v1': on(changedSchema, {
      keys: () => [movesKey],
      decide({ data }, draft) {
        const { categoryId, path, formerPath } = data
        if (formerPath === null || formerPath === path) return ignored
        // One that moves again is done from its beginning.
        const others = movesOf(draft).filter((move) => move.categoryId !== categoryId)
        draft.put(movesKey, { moves: [...others, firstPass(categoryId, now())] })
        return { outcome: 'done', line: { categoryId, path, formerPath } }
      },
    }),
  }
}

const movesOf = (draft: Draft): Move[] => draft.get(movesKey, movesSchema)?.moves ?? []

/**
 * Starts to take the products of moved categories to their new lists. Every replica does; a page
 * that two have done is the same. Returns a function that stops it.
 */
export function startMoves(deps: {
  state: StateStore
  batches: Batches
  categories: CategoryStore
  products: ProductStore
  log: Logger
  now: () => number
}): () => void {
  const { state, batches, categories, products, log, now } = deps
  let timer: NodeJS.Timeout | undefined
  let stopped = false

  /** Does a page of the first move that is due. Returns false if there is none. */
  async function step(): Promise<boolean> {
    const moves = (await state.get(movesKey, movesSchema))?.value.moves ?? []
    const move = moves.find(({ at }) => at <= now())
    if (!move) return false
    const { ids, next } = await products.idsInList({ list: move.list, after: move.after ?? undefined, limit: pageSize })
    if (ids.length > 0) {
      const pathOf = await pathsBelow(move.categoryId)
      await Promise.all(ids.map((id) => products.move(id, pathOf)))
    }
    const left = afterPage(move, next, now())
    await batches.commit({
      keys: [movesKey],
      decide(draft) {
        const current = movesOf(draft)
        // It has begun anew, or another replica is further.
        const isSame = (each: Move) => JSON.stringify(each) === JSON.stringify(move)
        if (!current.some(isSame)) return
        draft.put(movesKey, { moves: current.flatMap((each) => (isSame(each) ? (left ?? []) : [each])) })
      },
    })
    if (!left) log.info({ categoryId: move.categoryId }, 'the products of a moved category are in their new lists')
    return true
  }

  /** Returns the ids along the path of a category that is this one or below it. */
  async function pathsBelow(id: string): Promise<(categoryId: string) => string[] | undefined> {
    const paths = new Map((await categories.subtree(id)).map((each) => [each.id, idsOfPath(each.path)]))
    return (categoryId) => paths.get(categoryId)
  }

  async function run(): Promise<void> {
    while (!stopped && (await step()));
  }

  function next(): void {
    if (stopped) return
    timer = setTimeout(() => {
      run()
        .catch((err: unknown) => log.warn({ err }, 'products could not follow their moved category; trying again'))
        .finally(next)
    }, pauseMs)
  }
  next()
  return () => {
    stopped = true
    clearTimeout(timer)
  }
}
