import { z } from 'zod'
import { ComponentError } from './errors.ts'
import { nearestName } from './nearest-name.ts'

/**
 * Reads a Component's metadata with a zod schema. Names are matched without regard to case, as
 * Dapr's own components do; names that the schema does not know (Dapr's `keyPrefix`,
 * `actorStateStore`, ...) are ignored, except those that begin with `ownPrefix`: such a name can be
 * meant for nobody else, so that it is a mistake.
 *
 * Throws INVALID_SETTING naming every wrong field.
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
      problems.push(unknown(key, [...names.values()]))
    // An empty value means "not set": a template that fills in nothing must fall back to the
    // default.
    if (name !== undefined && value !== '') input[name] = value
  }
  const parsed = schema.safeParse(input)
  if (parsed.success && problems.length === 0) return parsed.data
  for (const issue of parsed.error?.issues ?? [])
    problems.push(`metadata field "${issue.path.join('.')}": ${issue.message}`)
  throw new ComponentError('INVALID_SETTING', problems.join('; '))
}

function unknown(name: string, known: string[]): string {
  const nearest = nearestName(name, known)
  return `metadata field "${name}": is no setting of this component${nearest === undefined ? '' : `; is "${nearest}" meant?`}`
}

const units = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 } as const

/**
 * A duration as Go and Dapr write it (`500ms`, `2s`, `1m`), in milliseconds; a bare number is
 * milliseconds.
 */
export const durationMs = z.string().transform((text, context) => {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h)?$/.exec(text)
  if (match) return Math.round(Number(match[1]) * units[(match[2] ?? 'ms') as keyof typeof units])
  context.addIssue({ code: 'custom', message: `"${text}" is not a duration such as 500ms or 2s` })
  return z.NEVER
})

/** A whole number between two bounds, written as text. */
export const wholeNumber = (min: number, max: number) =>
  z.string().regex(/^\d+$/, 'must be a whole number').transform(Number).pipe(z.number().min(min).max(max))

/** What Dapr takes for true in metadata. */
export const isTruthy = (text: string | undefined): boolean => /^(y|yes|true|t|on|1)$/i.test(text?.trim() ?? '')

/**
 * The name of a table, collection or database: letters, digits, `_`; it goes into statements
 * unquoted.
 */
export const identifier = z
  .string()
  .regex(/^[A-Za-z_][A-Za-z0-9_]{0,40}$/, 'may hold letters, digits and _ only, at most 41')
