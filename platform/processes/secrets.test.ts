import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { loadSecrets, type Secrets } from './secrets.ts'

function secretsFile(): string {
  const folder = mkdtempSync(join(tmpdir(), 'sidecart-secrets-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  return join(folder, 'secrets.json')
}

test('secrets stay the same from start to start, in a file that only its owner can read', () => {
  const file = secretsFile()
  expect(loadSecrets(file)).toEqual(loadSecrets(file))
  expect(statSync(file).mode & 0o777).toBe(0o600)
})

test('a service that a shop did not have before gets its secrets; the others keep theirs', () => {
  const file = secretsFile()
  const { users, ...others } = loadSecrets(file).services
  const before = JSON.parse(readFileSync(file, 'utf8')) as Secrets
  writeFileSync(file, JSON.stringify({ ...before, services: others }))
  const now = loadSecrets(file)
  expect(now.services).toMatchObject(others)
  expect(now.services.users.named['jwt-encryption-key']).toHaveLength(43)
  expect(now.services.users.database).not.toBe(users.database)
})
