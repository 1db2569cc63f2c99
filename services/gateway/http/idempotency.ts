import * as z from 'zod'
import { AppError } from '#lib/errors.ts'
import { fieldProblem, HttpError } from './problem.ts'

// Idempotency-Key as in draft-ietf-httpapi-idempotency-key-header-08. The key goes with the request
// to the service that makes the change, and is stored with what it made, in one transaction: so it
// tells after any crash whether the change was made, which a cache of answers in front of the
// services could not. Here is only what needs no store.

/** The header of a response that repeats an earlier one; the name that Stripe made common. */
export const replayedHeader = 'Idempotent-Replayed'

const quoted = /^"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*"$/
const bare = /^[\x20\x21\x23-\x7e]*$/

/**
 * The header as an operation declares it; its value is the key. By the draft it is a string of
 * RFC 9651, in double quotes. Most clients send the key alone, so both are accepted and mean the
 * same.
 */
export const idempotencyKey = (names: string) =>
  z
    .string()
    .refine((text) => quoted.test(text) || bare.test(text), {
      message: 'must be printable ASCII, with or without double quotes around it',
      abort: true,
    })
    .overwrite((text) => (quoted.test(text) ? text.slice(1, -1).replaceAll(/\\(["\\])/g, '$1') : text))
    .refine(({ length }) => length >= 1 && length <= 255, 'must have 1 to 255 characters')
    .meta({
      minLength: 1,
      maxLength: 257,
      description: `${names} A UUID, for example.`,
      examples: ['9d1c4c2e-6f1e-4c86-8a0f-0a3d1f2b7a11', '"9d1c4c2e-6f1e-4c86-8a0f-0a3d1f2b7a11"'],
    })

/** The request that a key was sent with. */
export type KeyedRequest = { caller: string; key: string; method: string; path: string; body: unknown }

/**
 * Returns a function that runs `work` unless a request with the same key from the same caller is in
 * hand here: then it throws `request_in_progress` (409) if that one is the same, by method, path
 * and body, else `idempotency_key_reused` (422). Another gateway passes the second one on, and its
 * answer is that of the first.
 */
export function createInProgress(): <T>(request: KeyedRequest, work: () => Promise<T>) => Promise<T> {
  const inProgress = new Map<string, KeyedRequest>()
  return async (request, work) => {
    const name = `${request.caller}\0${request.key}`
    const first = inProgress.get(name)
    if (first) throw refusal(fingerprint(first) === fingerprint(request))
    inProgress.set(name, request)
    try {
      return await work()
    } finally {
      inProgress.delete(name)
    }
  }
}

const fingerprint = ({ method, path, body }: KeyedRequest): string => JSON.stringify([method, path, body])

function refusal(isSame: boolean): Error {
  if (!isSame) {
    return new AppError('rejected', 'idempotency_key_reused', 'The Idempotency-Key is in use for a different request', {
      fields: [{ field: 'Idempotency-Key', message: 'was used for a different request' }],
    })
  }
  const { message, code, fields } = fieldProblem('request_in_progress', 'Idempotency-Key', 'is being worked on')
  return new HttpError(code, message, { fields, headers: { 'Retry-After': '1' } })
}
