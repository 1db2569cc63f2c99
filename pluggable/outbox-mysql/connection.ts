import { readFileSync } from 'node:fs'
import { connect, isIP } from 'node:net'
import type { PoolOptions } from 'mysql2/promise'
import { ComponentError } from '../host/errors.ts'
import { areCertificates } from '../host/pem.ts'
import type { MysqlAddress } from './connection-string.ts'

/**
 * Returns mysql2's options for `tls`. Throws INVALID_SETTING if the file at `pemPath` is needed and
 * has no readable certificates.
 */
export function tlsOptions(
  { tls, host, port }: MysqlAddress,
  pemPath: string | undefined,
): Pick<PoolOptions, 'ssl' | 'stream'> {
  if (tls === undefined) return {}
  if (tls === 'skip-verify') return { ssl: { rejectUnauthorized: false } }
  const ssl = {
    rejectUnauthorized: true,
    verifyIdentity: true,
    ...(tls === 'verify-by-pem' ? { ca: readCertificates(pemPath ?? '') } : {}),
  }
  return host !== undefined && isIP(host) ? { ssl, stream: () => connectByAddress(host, port ?? 3306) } : { ssl }
}

function readCertificates(pemPath: string): string {
  const refuse = (why: string) => new ComponentError('INVALID_SETTING', `metadata field "pemPath": ${why}`)
  let pem: string
  try {
    pem = readFileSync(pemPath, 'utf8')
  } catch (error) {
    throw refuse(error instanceof Error ? error.message : String(error))
  }
  if (!areCertificates(pem)) throw refuse('the file must hold readable certificates in PEM')
  return pem
}

/**
 * mysql2 upgrades its socket to TLS without saying which host it is connected to. Node then reads
 * the socket's `_host`, which it sets only for names, and takes an address for "localhost": a
 * certificate for localhost would be accepted for any address, and one for that address rejected.
 */
const connectByAddress = (host: string, port: number) =>
  Object.assign(connect(port, host).setNoDelay(true), { _host: host })

/** Patterns in messages of the server, Node and OpenSSL, and what they mean here. */
const reasons: [RegExp, string][] = [
  [/insecure transport/, 'MySQL requires TLS, see tls in connectionString'],
  [/^Access denied/, 'MySQL rejected the user or password in connectionString, or requires TLS for this user'],
  [/^Unknown database/, 'MySQL has no such database'],
  [/does not support secure connection/, 'MySQL does not support TLS, but connectionString requires it'],
  [/certificate|altnames/, "MySQL's certificate was rejected"],
]

/**
 * Returns STORE_UNAVAILABLE for an error that prevented a connection, with a hint for the operator.
 */
export function noConnection(cause: unknown): ComponentError {
  const message = cause instanceof Error ? cause.message : String(cause)
  const reason = reasons.find(([pattern]) => pattern.test(message))?.[1]
  return new ComponentError('STORE_UNAVAILABLE', `${reason ?? 'MySQL does not respond'} (${message})`, {
    cause,
    lasting: reason !== undefined,
  })
}
