import { z } from 'zod'
import { ComponentError } from './errors.ts'
import { nearestName } from './nearest-name.ts'

/**
 * Parses a Component's metadata with a zod schema. Names are case-insensitive, as in Dapr's own
 * components. Unknown names (Dapr's `keyPrefix`, `actorStateStore`, ...) are ignored, except those
 * that begin with `ownPrefix`: they cannot be meant for anything else, so they are mistakes.
 *
 * Throws INVALID_SETTING naming every invalid field.
 */
export function parseSettings<S extends z.ZodObject>(
  schema: S,
  properties: Record<string, string>,
  { ownPrefix }: { ownPrefix?: string } = {},
): z.output<S> {
  const names = new Map(Object.keys(schema.shape).map((name) => [name.toLowerCase(), name]))
  const input: Record<string, string> = {}
  const problems: string[] = []
  for (const [key, value] of Object.entries(properties)) {
    const name = names.get(key.toLowerCase())
    if (name === undefined && ownPrefix !== undefined && key.toLowerCase().startsWith(ownPrefix))
      problems.push(unknownSetting(key, [...names.values()]))
    // An empty value means "not set": a template that fills in nothing must get the default.
    if (name !== undefined && value !== '') input[name] = value
  }
  const parsed = schema.safeParse(input)
  if (parsed.success && problems.length === 0) return parsed.data
  for (const issue of parsed.error?.issues ?? [])
    problems.push(`metadata field "${issue.path.join('.')}": ${issue.message}`)
  throw new ComponentError('INVALID_SETTING', problems.join('; '))
}

function unknownSetting(name: string, known: string[]): string {
  const nearest = nearestName(name, known)
  return `metadata field "${name}": unknown setting${nearest === undefined ? '' : `, did you mean "${nearest}"?`}`
}

const units = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 } as const

/**
 * A duration as Go and Dapr write it (`500ms`, `2s`, `1m`), parsed to milliseconds. A number
 * without a unit is milliseconds.
 */
export const durationMs = z.string().transform((text, context) => {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h)?$/.exec(text)
  if (match) return Math.round(Number(match[1]) * units[(match[2] ?? 'ms') as keyof typeof units])
  context.addIssue({ code: 'custom', message: 'must be a duration such as 500ms or 2s' })
  return z.NEVER
})

/** A whole number within two bounds, written as text. */
export const wholeNumber = (min: number, max: number) =>
  z.string().regex(/^\d+$/, 'must be a whole number').transform(Number).pipe(z.number().min(min).max(max))

/** True for what Dapr reads as true in metadata. */
export const isTruthy = (text: string | undefined): boolean => /^(y|yes|true|t|on|1)$/i.test(text?.trim() ?? '')

/**
 * The name of a table, collection or database. It goes into statements unquoted, hence the limits.
 */
export const identifier = z
  .string()
  .regex(/^[A-Za-z_][A-Za-z0-9_]{0,40}$/, 'must be 1 to 41 letters, digits or _, and not begin with a digit')
