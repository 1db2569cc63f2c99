import type { Request, RequestHandler } from 'express'
import * as z from 'zod'
import { invalid } from '#lib/errors.ts'
import { readAll, readJson } from './body.ts'
import { readLines, type Line } from './body-lines.ts'
import type { Operation } from './operation.ts'
import { fieldProblem, HttpError } from './problem.ts'
import { fieldName, parse } from './validation.ts'

const maxUrlLength = 8 * 1024

/** The error for a path that cannot be decoded. */
export const badPath = () => fieldProblem('bad_path', 'path', 'must be percent-encoded UTF-8')

/** Refuses a URL that is too long or whose path cannot be decoded. */
export const checkUrl: RequestHandler = (req, _res, next) => {
  if (req.originalUrl.length > maxUrlLength)
    throw new HttpError('uri_too_long', `The URL must be at most ${maxUrlLength} characters`)
  try {
    decodeURIComponent(req.path)
  } catch {
    throw badPath()
  }
  next()
}

/** Headers of which only one may be sent: with two it is unclear which one counts. */
const singleHeaders = ['Authorization', 'Content-Type', 'Content-Encoding', 'Idempotency-Key', 'If-Match']

/** Throws `repeated_header`. */
export function checkHeaders(req: Request): void {
  const field = singleHeaders.find((name) => (req.headersDistinct[name.toLowerCase()]?.length ?? 0) > 1)
  if (field) throw fieldProblem('repeated_header', field, 'must not be repeated')
}

/** Returns the validated parameters of the path. Throws `invalid_field`. */
export function parseParams(operation: Operation, req: Request): unknown {
  const params = operation.params ? parse(operation.params, req.params, 'path') : undefined
  for (const [name, value] of Object.entries(req.params)) checkNul(name, String(value))
  return params
}

/**
 * Returns the validated query, and `more`: the parameters of `moreQuery`. Throws
 * `repeated_parameter`, `unknown_field` or `invalid_field`. Not express's parser: that one turns
 * `a[b]=1` into objects, and two values into a list.
 */
export function parseQuery(
  { query, moreQuery }: Operation,
  req: Request,
): { query: unknown; more: Record<string, string[]> } {
  const values: Record<string, string | string[]> = Object.create(null)
  const more = new Map<string, string[]>()
  for (const part of queryOf(req).split('&')) {
    if (part === '') continue
    const at = part.indexOf('=')
    const name = decodeQuery(at === -1 ? part : part.slice(0, at))
    const value = decodeQuery(at === -1 ? '' : part.slice(at + 1))
    const takesMany = query !== undefined && Object.hasOwn(query.shape, name) && query.shape[name] instanceof z.ZodArray
    const rest = moreQuery && name.startsWith(moreQuery.prefix) ? name.slice(moreQuery.prefix.length) : undefined
    if ((name in values && !takesMany) || (rest !== undefined && more.has(rest)))
      throw fieldProblem('repeated_parameter', fieldName([name], 'query'), 'must not be repeated')
    if (rest === undefined && (!query || !Object.hasOwn(query.shape, name)))
      throw invalid(fieldName([name], 'query'), 'unknown parameter', 'unknown_field')
    checkNul(name, value)
    if (moreQuery && rest !== undefined)
      more.set(
        parse(moreQuery.name, rest, fieldName([name], 'query')),
        parse(moreQuery.value, value, fieldName([name], 'query')),
      )
    else values[name] = takesMany ? [...(values[name] ?? []), value] : value
  }
  return { query: query ? parse(query, { ...values }, 'query') : undefined, more: Object.fromEntries(more) }
}

/** Returns the validated headers. Throws `invalid_field`. */
export function parseHeaders({ headers }: Operation, req: Request): unknown {
  if (!headers) return undefined
  const values = Object.keys(headers.shape).flatMap((name) => {
    const value = req.headers[name.toLowerCase()]
    return value === undefined ? [] : [[name, value]]
  })
  return parse(headers, Object.fromEntries(values), 'headers')
}

/**
 * Returns the lines of the body of an operation that has some, each with its validated value or
 * what is wrong with it. Throws what `readLines` throws.
 */
export async function parseLines({ lines }: Operation, req: Request): Promise<Line<unknown>[] | undefined> {
  return lines && readLines(req, lines)
}

/**
 * Returns the validated body. Throws what `readJson` throws, `unknown_field` and `invalid_field`.
 */
export async function parseBody({ body, lines }: Operation, req: Request): Promise<unknown> {
  if (lines) return undefined
  if (body) return parse(body, await readJson(req), 'body')
  if ((await readAll(req)).length > 0) throw invalid('body', 'must be empty', 'unknown_field')
  return undefined
}

function checkNul(name: string, value: string): void {
  if (value.includes('\0')) throw invalid(name, 'must not contain NUL characters')
}

function queryOf(req: Request): string {
  const at = req.originalUrl.indexOf('?')
  return at === -1 ? '' : req.originalUrl.slice(at + 1)
}

function decodeQuery(part: string): string {
  try {
    return decodeURIComponent(part.replaceAll('+', ' '))
  } catch {
    throw invalid('query', 'must be percent-encoded UTF-8')
  }
}
