import * as z from 'zod'
import { AppError, type FieldError } from '#lib/errors.ts'

const maxErrors = 20
const maxNameLength = 120

/**
 * Returns the value as the schema parses it. Throws `invalid_field` (`unknown_field` if every issue
 * is one) with at most 20 fields. `whole` names the value where it is wrong as a whole.
 */
export function parse<T>(schema: z.ZodType<T>, value: unknown, whole: string): T {
  const result = schema.safeParse(value, { error: messageOf })
  if (result.success) return result.data
  const fields = fieldErrors(result.error, whole)
  const code = result.error.issues.every((i) => i.code === 'unrecognized_keys') ? 'unknown_field' : 'invalid_field'
  const detail = fields
    .slice(0, 3)
    .map(({ field, message }) => `${field}: ${message}`)
    .join('; ')
  throw new AppError('invalid', code, detail, { fields })
}

/**
 * Returns a path as a field name such as `lines.0.sku`. Cut, as clients can send names of any
 * length.
 */
export function fieldName(path: readonly PropertyKey[], whole: string): string {
  const name = path.map(String).join('.') || whole
  return (name.length > maxNameLength ? `${name.slice(0, maxNameLength)}…` : name).toWellFormed()
}

function fieldErrors(error: z.ZodError, whole: string): FieldError[] {
  const found: FieldError[] = []
  for (const issue of error.issues) {
    if (issue.code === 'unrecognized_keys')
      for (const key of issue.keys)
        found.push({ field: fieldName([...issue.path, key], whole), message: 'unknown field' })
    else found.push({ field: fieldName(issue.path, whole), message: issue.message })
    if (found.length >= maxErrors) break
  }
  return found.slice(0, maxErrors)
}

/** The message of an issue where the schema sets none. It never repeats values from the input. */
function messageOf(issue: z.core.$ZodRawIssue): string | undefined {
  switch (issue.code) {
    case 'invalid_type':
      return issue.input === undefined ? 'is required' : `must be ${withArticle(issue.expected)}`
    case 'too_small':
      return `must ${bound(issue.origin, 'at least', issue.minimum)}`
    case 'too_big':
      return `must ${bound(issue.origin, 'at most', issue.maximum)}`
    case 'invalid_key':
      return `has a name that ${issue.issues[0]?.message ?? 'is invalid'}`
    case 'invalid_value':
      return `must be one of ${issue.values.map(String).join(', ')}`
    default:
      return undefined
  }
}

function bound(origin: string, comparison: string, count: number | bigint): string {
  if (origin === 'string') return `have ${comparison} ${count} characters`
  if (origin === 'array') return `have ${comparison} ${count} ${count === 1 ? 'entry' : 'entries'}`
  return `be ${comparison} ${count}`
}

function withArticle(type: string): string {
  if (type === 'int') return 'a whole number'
  if (type === 'record' || type === 'object') return 'an object'
  return type === 'array' ? 'an array' : `a ${type}`
}
