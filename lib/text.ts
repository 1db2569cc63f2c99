// The rules for text that clients send: length, spelling, allowed characters. No I/O.

export type TextRule = {
  /** In characters; 0 by default. */
  min?: number
  /** In characters. */
  max: number
  /** Allows tabs and line ends. */
  multiline?: boolean
}

/** A SKU: one line of 1 to 100 characters. */
export const skuRule = { min: 1, max: 100 } as const satisfies TextRule

// Unpaired surrogates arrive over gRPC as U+FFFD.
const unreadable = /[\p{Cs}\ufffd]/u
const separators = /[\u2028\u2029]/g
const breakOrControl = /[\p{Cc}\u2028\u2029]/u
const controlExceptLayout = /(?![\t\n\r])\p{Cc}/u

/**
 * Returns one line of text in its one spelling: NFC, without surrounding white space. Text far
 * beyond `max` is returned as is, to be refused by `textProblem` at no cost.
 */
export const normaliseLine = (text: string, { max }: TextRule): string =>
  text.length > 4 * max ? text : text.normalize('NFC').trim()

/**
 * Returns multi-line text in NFC. Line and paragraph separators (U+2028, U+2029), which Shopify's
 * exports contain, become line ends.
 */
export const normaliseLines = (text: string): string => text.normalize('NFC').replaceAll(separators, '\n')

/**
 * Returns what is wrong with a text's length, or undefined. Characters are counted as people do:
 * one outside the basic plane is one, not two.
 */
export function lengthProblem(text: string, { min = 0, max }: TextRule): string | undefined {
  const length = text.length > 2 * max ? Infinity : [...text].length
  if (length >= min && length <= max) return undefined
  return min > 0 ? `must have ${min} to ${max} characters` : `must have at most ${max} characters`
}

/** Returns what is wrong with a normalised text, or undefined. */
export function textProblem(text: string, rule: TextRule): string | undefined {
  const problem = lengthProblem(text, rule)
  if (problem) return problem
  if (rule.multiline && controlExceptLayout.test(text)) return 'must not contain control characters'
  if (!rule.multiline && breakOrControl.test(text)) return 'must not contain line breaks or control characters'
  if (unreadable.test(text)) return 'must not contain unreadable characters'
  return undefined
}

/** Returns the one spelling of a SKU, by which every service knows it. */
export const normaliseSku = (sku: string): string => normaliseLine(sku, skuRule)

/** Returns what is wrong with a normalised SKU, or undefined. */
export const skuProblem = (sku: string): string | undefined => textProblem(sku, skuRule)
