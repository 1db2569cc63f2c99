import { ComponentError } from '../host/errors.ts'
import type { Operation, SetOperation } from '../host/state-store.ts'

/**
 * A row as the transaction found it. `live` is false if it has expired but has not been swept yet.
 */
export type FoundRow = { etag: string; live: boolean }

/**
 * What a transaction leaves in each key it touches: the last write, or undefined for a delete.
 */
export type Effects = Map<string, SetOperation | undefined>

/** Operations whose outcome depends on what is stored. */
const isConditional = (operation: Operation): boolean =>
  operation.etag !== undefined || (operation.kind === 'set' && operation.firstWrite)

/**
 * Returns the keys on which the conditions of these transactions depend: each once, in lock order.
 */
export const conditionalKeys = (transactions: { operations: Operation[] }[]): string[] =>
  [
    ...new Set(transactions.flatMap(({ operations }) => operations.filter(isConditional).map(({ key }) => key))),
  ].toSorted()

/**
 * Returns the combined effect of a transaction's operations, applied in order. `found` has the
 * existing rows of all keys with conditional operations; they must not change before the effects
 * are written.
 *
 * Returns ETAG_MISMATCH if a condition does not hold: an etag must be that of a live row which this
 * transaction has not written yet, and a first write needs a key without a live row.
 */
export function effectsOf(operations: Operation[], found: Map<string, FoundRow>): Effects | ComponentError {
  const effects: Effects = new Map()
  for (const operation of operations) {
    const { key } = operation
    const row = found.get(key)
    const touched = effects.has(key)
    if (operation.etag !== undefined) {
      if (touched || !row?.live || row.etag !== operation.etag) return etagMismatch(key, 'does not have that etag')
    } else if (operation.kind === 'set' && operation.firstWrite) {
      const isLive = touched ? effects.get(key) !== undefined : row?.live
      if (isLive) return etagMismatch(key, 'already exists')
    }
    effects.set(key, operation.kind === 'set' ? operation : undefined)
  }
  return effects
}

/** The error for a condition that does not hold. */
export const etagMismatch = (key: string, problem: string): ComponentError =>
  new ComponentError('ETAG_MISMATCH', `key "${key}" ${problem}`)
