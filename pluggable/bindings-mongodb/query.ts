import { BSON, type Document } from 'mongodb'
import { z } from 'zod'
import { ComponentError } from '../host/errors.ts'
import { utf8 } from '../host/json.ts'

export const operations = ['find', 'count', 'aggregate'] as const
export type OperationName = (typeof operations)[number]

export type Query =
  | { operation: 'find'; filter: Document; sort?: Document; projection?: Document; limit?: number }
  | { operation: 'count'; filter: Document }
  | { operation: 'aggregate'; pipeline: Document[] }

const document = z.record(z.string(), z.unknown())
const limit = z.number().int().min(1)
const schemas = {
  find: z.strictObject({
    filter: document.default({}),
    sort: document.optional(),
    projection: document.optional(),
    limit: limit.optional(),
  }),
  count: z.strictObject({ filter: document.default({}) }),
  aggregate: z.strictObject({ pipeline: z.array(document) }),
} as const

/** Operators that write or run code from the caller. */
const forbidden = new Set(['$out', '$merge', '$where', '$function', '$accumulator'])

function refuseForbidden(value: unknown, path: string): void {
  if (Array.isArray(value)) value.forEach((each, index) => refuseForbidden(each, `${path}[${index}]`))
  else if (value !== null && typeof value === 'object') {
    for (const [name, each] of Object.entries(value)) {
      if (forbidden.has(name)) throw new ComponentError('INVALID_REQUEST', `${path}: must not contain ${name}`)
      refuseForbidden(each, `${path}.${name}`)
    }
  }
}

const isOperation = (name: string): name is OperationName => (operations as readonly string[]).includes(name)

/**
 * Parses a query from the binding's data: JSON, or MongoDB's extended JSON for dates and the like.
 * No data means an empty filter. Throws INVALID_REQUEST saying what is wrong, also for anything
 * that would write or run code.
 */
export function parseQuery(operation: string, data: Buffer, maxRows: number): Query {
  if (!isOperation(operation))
    throw new ComponentError('INVALID_REQUEST', `operation: must be one of ${operations.join(', ')}`)
  const text = utf8(data)
  let input: unknown
  try {
    input = data.length === 0 ? {} : BSON.EJSON.parse(text ?? '', { relaxed: true })
  } catch {
    throw new ComponentError('INVALID_REQUEST', 'data: must be JSON')
  }
  refuseForbidden(input, 'data')
  const parsed = schemas[operation].safeParse(input)
  if (!parsed.success) {
    throw new ComponentError(
      'INVALID_REQUEST',
      parsed.error.issues.map((issue) => `${['data', ...issue.path].join('.')}: ${issue.message}`).join('; '),
    )
  }
  const query = { operation, ...parsed.data } as Query
  if (query.operation === 'find' && query.limit !== undefined && query.limit > maxRows) {
    throw new ComponentError('INVALID_REQUEST', `data.limit: must be 1 to ${maxRows}`)
  }
  return query
}
