import type { IncomingMessage } from 'node:http'
import { AppError, invalid } from '#lib/errors.ts'
import { HttpError, nameOf } from './problem.ts'

export const maxBodyBytes = 256 * 1024
const maxDepth = 20

const badJson = (detail: string) => new HttpError('bad_json', detail, { fields: [{ field: 'body', message: detail }] })

/**
 * Reads a JSON body; undefined if there is none. Throws `body_too_large` beyond 256 KiB,
 * `unsupported_media_type` for anything but plain JSON in UTF-8, `bad_json`, and `invalid_field`
 * for text that no store could keep. Not express.json(): that replaces bad UTF-8 in silence,
 * inflates, and reads a body of any size to its end.
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
    throw badJson('is not valid UTF-8')
  }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw badJson('is not valid JSON')
  }
  checkJson(value)
  return value
}

/**
 * The body's bytes. Throws `body_too_large`; Node then reads on and forgets the rest, until
 * requestTimeout.
 */
export function readAll(req: IncomingMessage): Promise<Buffer> {
  if (Number(req.headers['content-length'] ?? 0) > maxBodyBytes) return Promise.reject(tooLarge())
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let size = 0
    req.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size <= maxBodyBytes) return void chunks.push(chunk)
      chunks.length = 0
      reject(tooLarge())
    })
    req.on('end', () => resolve(Buffer.concat(chunks)))
    req.on('error', () =>
      reject(new HttpError('request_timeout', 'The body did not arrive in full', { headers: { Connection: 'close' } })),
    )
  })
}

const tooLarge = () => new HttpError('body_too_large', `The body is larger than ${maxBodyBytes} bytes`)
const unsupported = (field: string, message: string) =>
  new HttpError('unsupported_media_type', `${field}: ${message}`, { fields: [{ field, message }] })

/**
 * Refuses what is JSON and yet no good anywhere: names that reach an object's prototype, text that
 * is not Unicode (lone surrogates) or has a NUL, numbers beyond every range, nesting deeper than
 * anything here.
 */
export function checkJson(root: unknown): void {
  const pending: { value: unknown; path: string[] }[] = [{ value: root, path: [] }]
  for (let next = pending.pop(); next; next = pending.pop()) {
    const { value, path } = next
    const name = () => nameOf(path, 'body')
    if (path.length > maxDepth)
      throw invalid(nameOf(path.slice(0, 5), 'body'), `is nested deeper than ${maxDepth} levels`)
    if (typeof value === 'string') checkText(value, name)
    else if (typeof value === 'number' && !Number.isFinite(value))
      throw invalid(name(), 'is a number beyond every range')
    else if (Array.isArray(value)) for (const [i, entry] of value.entries()) push(entry, path, String(i))
    else if (value !== null && typeof value === 'object') {
      for (const [key, entry] of Object.entries(value)) {
        if (key === '__proto__') throw unknownField(nameOf([...path, key], 'body'))
        checkText(key, () => nameOf([...path, key], 'body'))
        push(entry, path, key)
      }
    }
  }
  function push(value: unknown, path: string[], key: string) {
    if (typeof value === 'string' || typeof value === 'number' || (value !== null && typeof value === 'object'))
      pending.push({ value, path: [...path, key] })
  }
}

const unknownField = (field: string) =>
  new AppError('invalid', 'unknown_field', `${field}: is not known here`, {
    fields: [{ field, message: 'is not known here' }],
  })

/** Refuses text with NUL or half of a surrogate pair. */
export function checkText(text: string, name: () => string): void {
  if (text.includes('\0')) throw invalid(name().replaceAll('\0', '�'), 'must not have a NUL character')
  if (!text.isWellFormed()) throw invalid(name(), 'is not well-formed Unicode')
}
