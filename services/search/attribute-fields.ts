// How attributes and options are found. No I/O.

/**
 * Attributes can have any name, and a field for each would let one careless import break the index:
 * every field costs memory in each segment. So there are a few fields, a name's hash decides its
 * field, and a term holds name and value. With one field for all, a facet would read each value of
 * each hit: some 20 instead of 1 or 2.
 */
export const attributeFieldCount = 64

/** Cannot be in a name: it is a control character. */
const separator = '\u001f'

/** Longer values can be searched for by their words, not filtered by. In characters. */
export const maxValueLength = 200

/** Returns the field that holds the values of a name. */
export function attributeField(name: string): string {
  // FNV-1a
  let hash = 0x811c9dc5
  for (const byte of Buffer.from(name)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0
  return `a${hash % attributeFieldCount}`
}

export const attributeTerm = (name: string, value: string): string => `${name}${separator}${value}`

/** Returns the value in a term of `name`. */
export const valueOfTerm = (name: string, term: string): string => term.slice(name.length + separator.length)

/** Returns the regular expression, in Lucene's syntax, of all terms of a name. */
export const termsOfName = (name: string): string =>
  `${name.replaceAll(/[.?+*|{}[\]()"\\#@&<>~^$-]/g, '\\$&')}${separator}.*`

/**
 * Returns what can be filtered by: options, and attributes that are text, a number, true or false,
 * or a list of those. `field` -> terms.
 */
export function attributeTerms(
  attributes: Record<string, unknown>,
  variants: { options: Record<string, string> }[],
): Record<string, string[]> {
  const terms = new Map<string, Set<string>>()
  const add = (name: string, value: unknown) => {
    if (typeof value !== 'string' && typeof value !== 'number' && typeof value !== 'boolean') return
    const text = String(value)
    if (text === '' || text.length > maxValueLength) return
    const field = attributeField(name)
    terms.set(field, (terms.get(field) ?? new Set()).add(attributeTerm(name, text)))
  }
  for (const [name, value] of Object.entries(attributes))
    for (const each of Array.isArray(value) ? (value as unknown[]) : [value]) add(name, each)
  for (const { options } of variants) for (const [name, value] of Object.entries(options)) add(name, value)
  return Object.fromEntries([...terms].map(([field, values]) => [field, [...values]]))
}
