import { normaliseLine, normaliseLines, textProblem } from '#lib/text.ts'

// Free-form attributes of a product. No I/O.

export type Attribute = string | number | boolean | null | Attribute[] | Attributes
export type Attributes = { [name: string]: Attribute }

type Report = (field: string, message: string) => void

const maxBytes = 32 * 1024
const maxDepth = 8
const nameRule = { min: 1, max: 100 }

/**
 * Checks and normalises attributes; reports every wrong one by its path, such as `attributes.a.b`.
 */
export function parseAttributes(input: { [name: string]: unknown }, report: Report): Attributes {
  if (!isPlainObject(input)) report('attributes', 'must be a JSON object')
  const attributes = parseObject(input, 'attributes', 1, report)
  if (Buffer.byteLength(JSON.stringify(attributes)) > maxBytes)
    report('attributes', `must have at most ${maxBytes} bytes as JSON`)
  return attributes
}

function parseObject(input: { [name: string]: unknown }, field: string, depth: number, report: Report): Attributes {
  const entries = Object.entries(input).map(([name, value]): [string, Attribute] => {
    const clean = normaliseLine(name, nameRule)
    const problem = textProblem(clean, nameRule) ?? (clean === '__proto__' ? 'must not be __proto__' : undefined)
    if (problem) report(field, `the name of an attribute ${problem}`)
    const shortName = [...clean].slice(0, nameRule.max).join('')
    return [clean, parseValue(value, `${field}.${shortName}`, depth + 1, report)]
  })
  if (new Set(entries.map(([name]) => name)).size < entries.length)
    report(field, 'must not have two attributes of one name')
  return Object.fromEntries(entries)
}

function parseValue(value: unknown, field: string, depth: number, report: Report): Attribute {
  if (value === null || typeof value === 'boolean') return value
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) report(field, 'must be a finite number')
    return value
  }
  if (typeof value === 'string') {
    const clean = normaliseLines(value)
    const problem = textProblem(clean, { max: maxBytes, multiline: true })
    if (problem) report(field, problem)
    return clean
  }
  if (depth > maxDepth) {
    report(field, `must not be nested more than ${maxDepth} deep`)
    return null
  }
  if (Array.isArray(value)) return value.map((item, i) => parseValue(item, `${field}.${i}`, depth + 1, report))
  if (!isPlainObject(value)) {
    report(field, 'must be JSON')
    return null
  }
  return parseObject(value, field, depth, report)
}

/** False for an object whose prototype a client has set by `__proto__`. */
const isPlainObject = (value: unknown): value is { [name: string]: unknown } =>
  typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype

// In MongoDB a dot or a leading dollar sign in a field's name has a meaning in queries, so both are
// escaped.
const encodeName = (name: string) => name.replace(/[%.$]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)
const decodeName = (name: string) =>
  name.replace(/%(25|2E|24)/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))

/**
 * Returns attributes with names that every document store accepts; `decodeAttributes` reverses it.
 */
export const encodeAttributes = (value: Attribute): Attribute => mapNames(value, encodeName)
export const decodeAttributes = (value: Attribute): Attribute => mapNames(value, decodeName)

function mapNames(value: Attribute, rename: (name: string) => string): Attribute {
  if (Array.isArray(value)) return value.map((item) => mapNames(item, rename))
  if (value === null || typeof value !== 'object') return value
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [rename(name), mapNames(item, rename)]))
}
