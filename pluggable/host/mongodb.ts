import { MongoClient, MongoError, MongoNetworkError, MongoServerError, MongoServerSelectionError } from 'mongodb'
import { ComponentError } from './errors.ts'

/**
 * Error codes of a server that is shutting down, stepping down or not (yet) the primary, and of
 * timeouts while waiting for it.
 */
const unavailableCodes = new Set([6, 7, 89, 91, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436])

/** True if the server did not respond, or cannot serve requests now. */
export function isUnavailable(error: unknown): boolean {
  if (error instanceof ComponentError) return error.code === 'STORE_UNAVAILABLE'
  if (error instanceof MongoNetworkError || error instanceof MongoServerSelectionError) return true
  if (error instanceof MongoServerError) return typeof error.code === 'number' && unavailableCodes.has(error.code)
  // Pool cleared, wait queue timeout, topology closed: the driver's errors for the same thing.
  return error instanceof MongoError && /Pool|Queue|Topology|NotConnected|ExpiredSession/.test(error.name)
}

/** Patterns in messages of the driver, Node and OpenSSL, and what they mean here. */
const reasons: [RegExp, string][] = [[/certificate|altnames/, "MongoDB's certificate was rejected"]]

const unauthorized = 13
const authenticationFailed = 18

/**
 * Returns STORE_UNAVAILABLE for an error that means so, INVALID_SETTING for an unreadable file, and
 * any other error as is.
 */
export function explain(error: unknown): unknown {
  if (error instanceof ComponentError || !(error instanceof Error)) return error
  const { message } = error
  const unavailable = (why: string, lasting = true) =>
    new ComponentError('STORE_UNAVAILABLE', `${why} (${message})`, { cause: error, lasting })
  if (error instanceof MongoServerError && error.code === authenticationFailed)
    return unavailable('MongoDB rejected the user or password')
  if (error instanceof MongoServerError && error.code === unauthorized)
    return unavailable('MongoDB does not allow this user to use the database')
  if (/^E(NOENT|ACCES|ISDIR): .*, (open|read)/.test(message))
    return new ComponentError('INVALID_SETTING', `metadata field "connectionString": ${message}`)
  if (!isUnavailable(error)) return error
  const reason = reasons.find(([pattern]) => pattern.test(message))?.[1]
  return reason === undefined ? unavailable('MongoDB does not respond', false) : unavailable(reason)
}

export const isDuplicateKey = (error: unknown): boolean => error instanceof MongoServerError && error.code === 11_000

/**
 * Creates a client that gives up on a server within 2 s, or within `socketTimeoutMS` if that is
 * longer. It connects on first use; the caller closes it. Throws INVALID_SETTING for a connection
 * string that the driver rejects.
 */
export function openMongo(connectionString: string, maxConnections: number, socketTimeoutMS = 1_900): MongoClient {
  try {
    return new MongoClient(connectionString, {
      serverSelectionTimeoutMS: 1_500,
      connectTimeoutMS: 1_500,
      waitQueueTimeoutMS: 1_500,
      socketTimeoutMS,
      maxPoolSize: maxConnections,
      ignoreUndefined: true,
      writeConcern: { w: 'majority', journal: true },
      readConcern: { level: 'majority' },
      retryReads: true,
      retryWrites: true,
    })
  } catch (error) {
    throw new ComponentError(
      'INVALID_SETTING',
      `metadata field "connectionString": ${error instanceof Error ? error.message : String(error)}`,
    )
  }
}
