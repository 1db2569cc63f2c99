// The shop's secrets: random, created once, kept in one file that only its owner can read.
import { randomBytes } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { serviceNames, services, type ServiceName } from './services.ts'

export type Secrets = {
  mysqlRoot: string
  mongodbRoot: string
  kafkaClusterId: string
  adminPassword: string
  shopperPassword: string
  services: Record<ServiceName, ServiceSecrets>
}

export type ServiceSecrets = {
  /** Password of its database user. */
  database: string
  /** What its sidecar shows to it, and it to its sidecar. */
  appToken: string
  daprToken: string
  /** Those that its line in services.ts names. */
  named: Record<string, string>
}

/**
 * Returns the secrets of a shop and creates those that it does not have yet: all of them at its
 * first start, a new service's later. @throws Error when the file is unreadable
 */
export function loadSecrets(file: string): Secrets {
  const known = readSecrets(file)
  const fresh = createSecrets()
  const secrets: Secrets = {
    ...fresh,
    ...known,
    services: mapServices((name) => {
      const [created, kept] = [fresh.services[name], known.services?.[name]]
      return { ...created, ...kept, named: { ...created.named, ...kept?.named } }
    }),
  }
  const content = JSON.stringify(secrets, undefined, 2)
  if (content !== JSON.stringify(known, undefined, 2)) writePrivate(file, content)
  return secrets
}

function readSecrets(file: string): Partial<Secrets> {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Secrets
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {}
    throw new Error(`${file} is unreadable: ${(error as Error).message}`, { cause: error })
  }
}

function createSecrets(): Secrets {
  // Hexadecimal: they need no quoting in a URI, a DSN or SQL.
  const random = () => randomBytes(24).toString('hex')
  return {
    mysqlRoot: random(),
    mongodbRoot: random(),
    kafkaClusterId: randomBytes(16).toString('base64url'),
    adminPassword: random(),
    shopperPassword: random(),
    services: mapServices((name) => ({
      database: random(),
      appToken: random(),
      daprToken: random(),
      // 32 bytes: the size of an encryption key.
      named: Object.fromEntries(
        services[name].secrets.map((secret) => [secret, randomBytes(32).toString('base64url')]),
      ),
    })),
  }
}

function mapServices<T>(make: (name: ServiceName) => T): Record<ServiceName, T> {
  return Object.fromEntries(serviceNames.map((name) => [name, make(name)])) as Record<ServiceName, T>
}

/** Writes a file that only its owner can read, even if it existed with wider permissions. */
export function writePrivate(file: string, content: string): void {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
  // Sidecars watch some of them, and reload at any touch: what is as it should be is left alone.
  if (existsSync(file) && (statSync(file).mode & 0o777) === 0o600 && readFileSync(file, 'utf8') === content) return
  writeFileSync(file, content, { mode: 0o600 })
  chmodSync(file, 0o600)
}
