import { isIP } from 'node:net'
import type { ConnectionOptions } from 'mysql2'

type Target = Pick<ConnectionOptions, 'host' | 'port' | 'socketPath' | 'user' | 'password' | 'database'>

/**
 * How the server's certificate is checked: against Node's authorities, against those in the file at
 * `pemPath`, or not at all.
 */
export type Tls = 'verify' | 'verify-by-pem' | 'skip-verify'

export type MysqlAddress = Target & { tls?: Tls }

/** The default database of Dapr's state.mysql. */
const defaultSchema = 'dapr_state_store'

// The format of Go's driver, which Dapr's own components use:
// user:password@tcp(host:port)/database?tls=true
const goForm = /^(?:([^:]*)(?::(.*))?@)?(?:(tcp|unix)(?:\((.*)\))?)?\/([^/?]*)(?:\?([^/]*))?$/s

// The spellings of true and false that Go's driver accepts.
const yes = Object.fromEntries(['true', 'TRUE', 'True', '1'].map((text) => [text, 'verify' as const]))
const no = new Set(['false', 'FALSE', 'False', '0'])
const tlsOf: Record<string, Tls | undefined> = { ...yes, custom: 'verify-by-pem', 'skip-verify': 'skip-verify' }

/**
 * Parses a connection string: a URL (`mysql://user:password@host:3306/database`) or the format of
 * Dapr's state.mysql. The database is the one it names, else `schemaName`, else Dapr's default.
 * Throws Error saying what is wrong, without repeating the string: it contains a password.
 */
export function parseConnectionString(text: string, schemaName?: string): MysqlAddress {
  const isUrl = /^mysql:\/\//i.test(text)
  const { params, ...address } = isUrl ? fromUrl(text) : fromGoForm(text)
  const database = address.database || schemaName || (isUrl ? '' : defaultSchema)
  if (!database) throw new Error('must name a database')
  const tls = params.get('tls') ?? 'false'
  // Not ignored: a request for encryption must not end in an unencrypted connection.
  const foreign = [...params.keys()].find((name) => /^ssl/i.test(name))
  if (foreign !== undefined) throw new Error(`must not contain "${foreign}"; encryption is set with tls`)
  if (!no.has(tls) && tlsOf[tls] === undefined)
    throw new Error(`tls must be true, false, skip-verify or custom, not "${tls}"`)
  return { ...address, database, ...(tlsOf[tls] ? { tls: tlsOf[tls] } : {}) }
}

type Parsed = Target & { database: string; params: URLSearchParams }

function fromUrl(text: string): Parsed {
  if (!URL.canParse(text)) throw new Error('must be a URL like mysql://user:password@host:3306/database')
  const { hostname, port, username, password, pathname, searchParams } = new URL(text)
  return {
    ...tcp(decodeURIComponent(hostname), port),
    user: decodeURIComponent(username),
    password: decodeURIComponent(password),
    database: decodeURIComponent(pathname.slice(1)),
    params: searchParams,
  }
}

function fromGoForm(text: string): Parsed {
  const match = goForm.exec(text)
  if (!match)
    throw new Error(
      'must be a URL like mysql://user:password@host:3306/database or like user:password@tcp(host:3306)/database',
    )
  const [, user = '', password = '', network = 'tcp', address = '', database = '', params = ''] = match
  const [, host = '', port = ''] = /^(.*?)(?::(\d+))?$/s.exec(address) ?? []
  const target = network === 'unix' ? { socketPath: address || '/tmp/mysql.sock' } : tcp(host, port)
  return { ...target, user, password, database: decodeURIComponent(database), params: new URLSearchParams(params) }
}

function tcp(host: string, port: string): { host: string; port: number } {
  const bare = host.replace(/^\[(.*)\]$/, '$1')
  return { host: (isIP(bare) === 6 ? bare : host) || '127.0.0.1', port: Number(port || '3306') }
}
