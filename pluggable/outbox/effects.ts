import { ComponentError } from '../host/errors.ts'
import type { Operation, SetOperation } from '../host/state-store.ts'

/**
 * A row as the transaction found it: `live` is false for one that has expired but was not swept
 * yet.
 */
export type FoundRow = { etag: string; live: boolean }

/**
 * What a transaction leaves of each key that it touches: the last write, or undefined for a delete.
 */
export type Effects = Map<string, SetOperation | undefined>

/** Operations whose fate depends on what is there. */
const isConditional = (operation: Operation): boolean =>
  operation.etag !== undefined || (operation.kind === 'set' && operation.firstWrite)

/**
 * The keys on which conditions of these transactions stand, each once, in the order of all locks.
 */
export const conditionalKeys = (transactions: { operations: Operation[] }[]): string[] =>
  [
    ...new Set(transactions.flatMap(({ operations }) => operations.filter(isConditional).map(({ key }) => key))),
  ].toSorted()

/**
 * What a transaction's operations come to, done in their order. `found` has the rows of all keys
 * with conditional operations, as far as there are any; they must not change before the effects are
 * written.
 *
 * Answers ETAG_MISMATCH where a condition does not hold: an etag is that of a live row which this
 * transaction has not written yet, and a first write needs a key that holds nothing live.
 */
export function effectsOf(operations: Operation[], found: Map<string, FoundRow>): Effects | ComponentError {
  const effects: Effects = new Map()
  for (const operation of operations) {
    const { key } = operation
    const row = found.get(key)
    const touched = effects.has(key)
    if (operation.etag !== undefined) {
      if (touched || !row?.live || row.etag !== operation.etag) return mismatch(key, 'does not have that etag')
    } else if (operation.kind === 'set' && operation.firstWrite) {
      const isThere = touched ? effects.get(key) !== undefined : row?.live
      if (isThere) return mismatch(key, 'exists already')
    }
    effects.set(key, operation.kind === 'set' ? operation : undefined)
  }
  return effects
}

const mismatch = (key: string, expected: string): ComponentError =>
  new ComponentError('ETAG_MISMATCH', `key "${key}" ${expected}`)
