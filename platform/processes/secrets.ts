// The shop's secrets: random, made once, kept in one file that only its owner reads.
import { randomBytes } from 'node:crypto'
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { serviceNames, type ServiceName } from './ports.ts'

export type Secrets = {
  mysqlRoot: string
  mongodbRoot: string
  kafkaClusterId: string
  jwtEncryptionKey: string
  providerApiKey: string
  adminPassword: string
  shopperPassword: string
  services: Record<ServiceName, { database: string; appToken: string; daprToken: string }>
}

/**
 * The secrets of a shop; makes them when they are not there yet. @throws Error when the file is
 * unreadable
 */
export function loadSecrets(file: string): Secrets {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Secrets
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') {
      throw new Error(`${file} is unreadable: ${(error as Error).message}`, { cause: error })
    }
  }
  const secrets = createSecrets()
  writePrivate(file, JSON.stringify(secrets, undefined, 2))
  return secrets
}

function createSecrets(): Secrets {
  // Hexadecimal, so that they stand in a URI, a DSN and SQL as they are.
  const random = () => randomBytes(24).toString('hex')
  return {
    mysqlRoot: random(),
    mongodbRoot: random(),
    kafkaClusterId: randomBytes(16).toString('base64url'),
    jwtEncryptionKey: randomBytes(32).toString('base64url'),
    providerApiKey: `sk_test_${random()}`,
    adminPassword: random(),
    shopperPassword: random(),
    services: Object.fromEntries(
      serviceNames.map((name) => [name, { database: random(), appToken: random(), daprToken: random() }]),
    ) as Secrets['services'],
  }
}

/**
 * Writes a file that only its owner reads, also where it was there before with other permissions.
 */
export function writePrivate(file: string, content: string): void {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
  writeFileSync(file, content, { mode: 0o600 })
  chmodSync(file, 0o600)
}
