import { mkdirSync, rmSync } from 'node:fs'
import { dirname } from 'node:path'
import { expect, test } from 'vitest'
import { createPaths } from '../processes/paths.ts'
import { loadSecrets, writePrivate } from '../processes/secrets.ts'
import { startServers } from './shop.ts'

// Kafka's tool parses a word that begins with a dash as an option: one shop in 64 could not be
// started.
test('a Kafka whose cluster id begins with a dash is formatted and starts', async () => {
  const instance = 'test-dash'
  const { secrets, state } = createPaths(instance)
  mkdirSync(dirname(secrets), { recursive: true, mode: 0o700 })
  writePrivate(secrets, JSON.stringify({ ...loadSecrets(secrets), kafkaClusterId: '-AAAAAAAQACAAAAAAAAAAA' }))
  const shop = await startServers(['kafka'], { instance, portBase: 'free', fresh: true })
  try {
    expect(shop.urls.kafkaBrokers).toMatch(/^127\.0\.0\.1:\d+$/)
  } finally {
    await shop.stop()
    rmSync(state, { recursive: true, force: true })
  }
})
