import { createPool, type PoolConnection, type ResultSetHeader, type RowDataPacket } from 'mysql2'
import { withDeadline } from '../host/deadline.ts'
import { ComponentError } from '../host/errors.ts'
import { noConnection, tlsOptions } from './connection.ts'
import type { MysqlAddress } from './connection-string.ts'

/** A statement parameter. Text becomes utf8mb4, Buffers stay bytes. */
export type Parameter = string | number | Buffer | Date | null

/** One connection. Every statement has a time limit. */
export type Session = {
  rows(sql: string, parameters?: Parameter[]): Promise<RowDataPacket[]>
  write(sql: string, parameters?: Parameter[]): Promise<ResultSetHeader>
  /**
   * Runs statements that cannot be prepared or whose text varies. Several, separated by `;`, are
   * sent as one packet.
   */
  plain(sql: string, parameters?: (Parameter | Parameter[])[]): Promise<RowDataPacket[]>
}

export type Database = {
  /**
   * Runs `work` on a connection. Throws STORE_UNAVAILABLE within 2 s, or `statementMs`, if the
   * server is down or does not respond.
   */
  use<T>(work: (session: Session) => Promise<T>, statementMs?: number): Promise<T>
  close(): Promise<void>
}

const connectMs = 1_500
const defaultStatementMs = 1_900

type MysqlError = Error & { code?: string; errno?: number; fatal?: boolean }

export const isMysqlError = (error: unknown): error is MysqlError =>
  error instanceof Error && ('errno' in error || 'fatal' in error)

/** True for a deadlock or a lock wait timeout: the transaction can be rolled back and retried. */
export const isLockConflict = (error: unknown): boolean =>
  isMysqlError(error) && (error.code === 'ER_LOCK_DEADLOCK' || error.code === 'ER_LOCK_WAIT_TIMEOUT')

export const isDuplicate = (error: unknown): boolean => isMysqlError(error) && error.code === 'ER_DUP_ENTRY'

const unavailableCodes = new Set([
  'ER_CON_COUNT_ERROR',
  'ER_SERVER_SHUTDOWN',
  'ER_NORMAL_SHUTDOWN',
  'ER_CONNECTION_KILLED',
  'ER_TOO_MANY_USER_CONNECTIONS',
  'ER_OPTION_PREVENTS_STATEMENT',
])

/** True if the server did not respond or is shutting down. */
export function isUnavailable(error: unknown): boolean {
  if (error instanceof ComponentError) return error.code === 'STORE_UNAVAILABLE'
  if (!(error instanceof Error)) return false
  const { code, fatal, errno } = error as MysqlError
  if (code !== undefined && unavailableCodes.has(code)) return true
  // Errors from the server have a number of 1000 or more; others come from the socket.
  return (
    (fatal === true && !(errno !== undefined && errno >= 1_000)) ||
    /^(ECONN|EPIPE|ETIMEDOUT|EHOST|ENET|ENOTFOUND|EAI_|PROTOCOL_)/.test(code ?? '') ||
    /closed state|Pool is closed|Queue limit/.test(error.message)
  )
}

/**
 * Creates a pool of connections to one database, which are opened on demand. Throws INVALID_SETTING
 * if the file at `pemPath` has no readable certificates.
 */
export function openDatabase(settings: {
  address: MysqlAddress
  maxConnections: number
  pemPath?: string | undefined
}): Database {
  const { tls: _, ...address } = settings.address
  const pool = createPool({
    ...address,
    ...tlsOptions(settings.address, settings.pemPath),
    connectionLimit: settings.maxConnections,
    maxIdle: settings.maxConnections,
    // More callers are rejected at once: the database is hopelessly behind.
    queueLimit: 2_000,
    connectTimeout: connectMs,
    charset: 'utf8mb4_bin',
    timezone: 'Z',
    supportBigNumbers: true,
    jsonStrings: true,
    multipleStatements: true,
    // Makes affected rows mean changed rows: an insert-or-update that changes nothing returns 0.
    flags: ['-FOUND_ROWS'],
  })
  // Set explicitly, so that a server's configuration cannot change what statements mean.
  pool.on('connection', (connection) => {
    connection.query(
      `SET SESSION time_zone = '+00:00',
         sql_mode = 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION',
         innodb_lock_wait_timeout = 1;
       SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED`,
    )
  })

  const acquire = (): Promise<PoolConnection> =>
    within<PoolConnection>(
      connectMs,
      () => new Error(`no connection within ${connectMs} ms`),
      (done) => pool.getConnection(done),
      (late) => late.release(),
    ).catch((error: unknown) => {
      throw noConnection(error)
    })

  return {
    async use(work, statementMs = defaultStatementMs) {
      const connection = await acquire()
      let broken = false
      async function timed<T>(statement: (done: (error: Error | null, result: T) => void) => void): Promise<T> {
        try {
          return await within(
            statementMs,
            () => noConnection(new Error(`no response within ${statementMs} ms`)),
            statement,
          )
        } catch (error) {
          if (!isUnavailable(error)) throw error
          broken = true
          throw error instanceof ComponentError ? error : noConnection(error)
        }
      }
      const session: Session = {
        rows: (sql, parameters = []) => timed((done) => connection.execute<RowDataPacket[]>(sql, parameters, done)),
        write: (sql, parameters = []) => timed((done) => connection.execute<ResultSetHeader>(sql, parameters, done)),
        plain: (sql, parameters = []) => timed((done) => connection.query<RowDataPacket[]>(sql, parameters, done)),
      }
      try {
        return await work(session)
      } finally {
        // A connection that timed out must not be reused: the response may still come.
        if (broken) connection.destroy()
        else connection.release()
      }
    },
    close: () => withDeadline(pool.promise().end(), 1_000, () => new Error('slow shutdown')).catch(() => {}),
  }
}

/**
 * Resolves or rejects as the callback of `start` says, or rejects with `onTimeout()` after `ms`;
 * `onLate` gets what comes afterwards.
 *
 * mysql2's own promises take a stack trace for each call: a twelfth of a relay's round.
 */
function within<T>(
  ms: number,
  onTimeout: () => Error,
  start: (done: (error: Error | null, result: T) => void) => void,
  onLate?: (result: T) => void,
): Promise<T> {
  return new Promise((resolve, reject) => {
    let isLate = false
    const timer = setTimeout(() => {
      isLate = true
      reject(onTimeout())
    }, ms)
    start((error, result) => {
      clearTimeout(timer)
      if (error) reject(error)
      else if (!isLate) resolve(result)
      else onLate?.(result)
    })
  })
}
