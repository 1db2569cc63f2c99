import type { IncomingMessage } from 'node:http'
import { invalid } from '#lib/errors.ts'
import { fieldProblem, HttpError } from './problem.ts'
import { fieldName } from './validation.ts'

export const maxBodyBytes = 256 * 1024
const maxDepth = 20

const badJson = (message: string) => fieldProblem('bad_json', 'body', message)
const unsupported = (field: string, message: string) => fieldProblem('unsupported_media_type', field, message)
const tooLarge = (maxBytes: number) => new HttpError('body_too_large', `The body must be at most ${maxBytes} bytes`)

/**
 * Returns the JSON of a body, undefined if the body is empty. Throws `body_too_large` beyond 256
 * KiB, `unsupported_media_type` for anything but uncompressed JSON in UTF-8, `bad_json`, and
 * `invalid_field` for text that no store can keep. Not express.json(): that one silently replaces
 * bad UTF-8, inflates, and reads a body of any size to its end.
 */
export async function readJson(req: IncomingMessage): Promise<unknown> {
  const bytes = await readAll(req)
  if (bytes.length === 0) return undefined
  const type = req.headers['content-type'] ?? ''
  if (!/^application\/json[ \t]*(;[ \t]*charset="?utf-8"?[ \t]*)?$/i.test(type))
    throw unsupported('Content-Type', 'must be application/json')
  const encoding = req.headers['content-encoding'] ?? 'identity'
  if (encoding !== 'identity') throw unsupported('Content-Encoding', 'must not be compressed')

  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw badJson('must be valid UTF-8')
  }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw badJson('must be valid JSON')
  }
  checkJson(value)
  return value
}

/**
 * Returns the bytes of a body. Throws `body_too_large`, after which Node reads and discards the
 * rest until requestTimeout, and `request_timeout`.
 */
export function readAll(req: IncomingMessage, maxBytes = maxBodyBytes): Promise<Buffer> {
  if (Number(req.headers['content-length'] ?? 0) > maxBytes) return Promise.reject(tooLarge(maxBytes))
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let size = 0
    req.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size <= maxBytes) return void chunks.push(chunk)
      chunks.length = 0
      reject(tooLarge(maxBytes))
    })
    req.on('end', () => resolve(Buffer.concat(chunks)))
    req.on('error', () =>
      reject(
        new HttpError('request_timeout', 'The body did not arrive completely', { headers: { Connection: 'close' } }),
      ),
    )
  })
}

/**
 * Refuses JSON that no operation can use: a name that reaches an object's prototype, text with NUL
 * or lone surrogates, infinite numbers (1e999), deep nesting. Iterative, as a body of 256 KiB can
 * be nested deeper than the stack.
 */
export function checkJson(root: unknown, whole = 'body'): void {
  const pending: { value: unknown; path: string[] }[] = [{ value: root, path: [] }]
  for (let next = pending.pop(); next; next = pending.pop()) {
    const { value, path } = next
    const name = () => fieldName(path, whole)
    if (path.length > maxDepth)
      throw invalid(fieldName(path.slice(0, 5), whole), `must be nested at most ${maxDepth} levels deep`)
    if (typeof value === 'string') checkText(value, name)
    else if (typeof value === 'number' && !Number.isFinite(value)) throw invalid(name(), 'must be a finite number')
    else if (Array.isArray(value)) for (const [i, entry] of value.entries()) push(entry, path, String(i))
    else if (value !== null && typeof value === 'object') {
      for (const [key, entry] of Object.entries(value)) {
        const keyName = () => fieldName([...path, key], whole)
        if (key === '__proto__') throw invalid(keyName(), 'unknown field', 'unknown_field')
        checkText(key, keyName)
        push(entry, path, key)
      }
    }
  }
  function push(value: unknown, path: string[], key: string) {
    if (typeof value === 'string' || typeof value === 'number' || (value !== null && typeof value === 'object'))
      pending.push({ value, path: [...path, key] })
  }
}

/** Refuses text with NUL or a lone surrogate. */
function checkText(text: string, name: () => string): void {
  if (text.includes('\0')) throw invalid(name().replaceAll('\0', '�'), 'must not contain NUL characters')
  if (!text.isWellFormed()) throw invalid(name(), 'must be well-formed Unicode')
}
