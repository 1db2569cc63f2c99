import { MongoClient, MongoError, MongoNetworkError, MongoServerError, MongoServerSelectionError } from 'mongodb'
import { ComponentError } from './errors.ts'

/**
 * Codes of a server that is shutting down, stepping down or not (yet) the primary, and of a wait
 * for it that ran out.
 */
const awayCodes = new Set([6, 7, 89, 91, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436])

/** The server did not answer, or is not in a state to. */
export function isAway(error: unknown): boolean {
  if (error instanceof ComponentError) return error.code === 'STORE_UNAVAILABLE'
  if (error instanceof MongoNetworkError || error instanceof MongoServerSelectionError) return true
  if (error instanceof MongoServerError) return typeof error.code === 'number' && awayCodes.has(error.code)
  // Pool cleared, wait queue timeout, topology closed: the driver's own words for the same thing.
  return error instanceof MongoError && /Pool|Queue|Topology|NotConnected|ExpiredSession/.test(error.name)
}

/** What stands in messages of the driver, Node and OpenSSL, and what it means here. */
const reasons: [RegExp, string][] = [[/certificate|altnames/, "MongoDB's certificate is not accepted"]]

const unauthorized = 13
const authenticationFailed = 18

/**
 * STORE_UNAVAILABLE for an error that means so, INVALID_SETTING for a file that cannot be read, the
 * error itself otherwise.
 */
export function explain(error: unknown): unknown {
  if (error instanceof ComponentError || !(error instanceof Error)) return error
  const { message } = error
  const unavailable = (why: string, lasting = true) =>
    new ComponentError('STORE_UNAVAILABLE', `${why} (${message})`, { cause: error, lasting })
  if (error instanceof MongoServerError && error.code === authenticationFailed)
    return unavailable('MongoDB refuses the user or the password')
  if (error instanceof MongoServerError && error.code === unauthorized)
    return unavailable('MongoDB does not let this user in here')
  if (/^E(NOENT|ACCES|ISDIR): .*, (open|read)/.test(message))
    return new ComponentError('INVALID_SETTING', `metadata field "connectionString": ${message}`)
  if (!isAway(error)) return error
  const reason = reasons.find(([pattern]) => pattern.test(message))?.[1]
  return reason === undefined ? unavailable('MongoDB does not answer', false) : unavailable(reason)
}

export const isDuplicateKey = (error: unknown): boolean => error instanceof MongoServerError && error.code === 11_000

/**
 * A client that gives up on a server within 2 s, or within `socketTimeoutMS` where that is longer.
 * Connects on first use; the caller closes it. Throws INVALID_SETTING for a connection string that
 * the driver refuses.
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
