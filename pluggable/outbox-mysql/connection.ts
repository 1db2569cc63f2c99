import { readFileSync } from 'node:fs'
import { connect, isIP } from 'node:net'
import type { PoolOptions } from 'mysql2/promise'
import { ComponentError } from '../host/errors.ts'
import { areCertificates } from '../host/pem.ts'
import type { MysqlAddress } from './connection-string.ts'

/**
 * mysql2's options for what `tls` asks for. Throws INVALID_SETTING when the file at `pemPath` is
 * needed and holds no certificate.
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
  if (!areCertificates(pem)) throw refuse('the file holds no certificate in PEM, or one that cannot be read')
  return pem
}

/**
 * mysql2 upgrades a socket of its own to TLS without saying whom it is connected to. Node then
 * looks at the socket's `_host`, which it sets for names only, and takes an address for
 * "localhost": a certificate for localhost would do for any address, and one for that very address
 * would be refused.
 */
const connectByAddress = (host: string, port: number) =>
  Object.assign(connect(port, host).setNoDelay(true), { _host: host })

/** What stands in messages of the server, Node and OpenSSL, and what it means here. */
const reasons: [RegExp, string][] = [
  [/insecure transport/, 'MySQL takes encrypted connections only, see tls in connectionString'],
  [/^Access denied/, 'MySQL refuses the user or the password of connectionString, or wants tls for this user'],
  [/^Unknown database/, 'MySQL has no such database'],
  [/does not support secure connection/, 'MySQL has no TLS, which connectionString asks for'],
  [/certificate|altnames/, "MySQL's certificate is not accepted"],
]

/**
 * STORE_UNAVAILABLE for an error that left us without a connection, in words that help an operator.
 */
export function noConnection(cause: unknown): ComponentError {
  const message = cause instanceof Error ? cause.message : String(cause)
  const reason = reasons.find(([pattern]) => pattern.test(message))?.[1]
  return new ComponentError('STORE_UNAVAILABLE', `${reason ?? 'MySQL does not answer'} (${message})`, {
    cause,
    lasting: reason !== undefined,
  })
}
