import type { IncomingMessage } from 'node:http'
import { setImmediate as turn } from 'node:timers/promises'
import type * as z from 'zod'
import { AppError, invalid, type FieldError } from '#lib/errors.ts'
import { checkJson, readAll } from './body.ts'
import { fieldProblem, HttpError } from './problem.ts'
import { parse } from './validation.ts'

/** JSON lines (https://jsonlines.org), which many tools call NDJSON. */
export const linesMediaType = 'application/x-ndjson'

/** A line that is not empty: its number, from 1, and its value or what is wrong with it. */
export type Line<T> = { line: number; value: T } | { line: number; refusal: LineRefusal }
export type LineRefusal = { code: string; detail: string; errors: FieldError[] }

export const maxLines = 1_000
export const maxLinesBytes = 4 * 1024 * 1024
const maxLineBytes = 512 * 1024

/**
 * Returns the lines of a body, each parsed by the schema. Throws `body_too_large` beyond 4 MiB,
 * `unsupported_media_type`, and `invalid_field` for no or more than 1,000 lines.
 */
export async function readLines<T>(req: IncomingMessage, schema: z.ZodType<T>): Promise<Line<T>[]> {
  const bytes = await readAll(req, maxLinesBytes)
  const type = req.headers['content-type'] ?? ''
  if (!/^application\/(x-ndjson|ndjson|jsonl)[ \t]*(;[ \t]*charset="?utf-8"?[ \t]*)?$/i.test(type))
    throw fieldProblem('unsupported_media_type', 'Content-Type', `must be ${linesMediaType}`)
  const encoding = req.headers['content-encoding'] ?? 'identity'
  if (encoding !== 'identity')
    throw fieldProblem('unsupported_media_type', 'Content-Encoding', 'must not be compressed')

  const lines: Line<T>[] = []
  let number = 0
  for (let start = 0; start < bytes.length;) {
    const newline = bytes.indexOf(10, start)
    const end = newline === -1 ? bytes.length : newline
    const line = bytes.subarray(start, end)
    start = end + 1
    number += 1
    if (isBlank(line)) continue
    if (lines.length === maxLines) throw invalid('body', `must have at most ${maxLines} lines`)
    lines.push(parseLine(number, line, schema))
    // 1,000 products take some 50 ms, for which others would wait.
    if (lines.length % 50 === 0) await turn()
  }
  if (lines.length === 0) throw invalid('body', 'must have at least one line')
  return lines
}

const isBlank = (line: Buffer) => line.length <= 1_000 && line.toString('latin1').trim() === ''

function parseLine<T>(line: number, bytes: Buffer, schema: z.ZodType<T>): Line<T> {
  try {
    if (bytes.length > maxLineBytes)
      throw fieldProblem('body_too_large', 'line', `must be at most ${maxLineBytes} bytes`)
    return { line, value: parse(schema, parseJsonBytes(bytes), 'line') }
  } catch (error) {
    return { line, refusal: refusalOf(error) }
  }
}

function parseJsonBytes(bytes: Buffer): unknown {
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw fieldProblem('bad_json', 'line', 'must be valid UTF-8')
  }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw fieldProblem('bad_json', 'line', 'must be valid JSON')
  }
  checkJson(value, 'line')
  return value
}

function refusalOf(error: unknown): LineRefusal {
  if (!(error instanceof AppError) && !(error instanceof HttpError)) throw error
  return { code: error.code, detail: error.message, errors: error.fields }
}

/** Returns values as JSON lines. */
export const toLines = (values: unknown[]): Buffer =>
  Buffer.from(values.map((value) => `${JSON.stringify(value)}\n`).join(''))
