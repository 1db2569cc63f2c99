import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Kafka, logLevel } from 'kafkajs'
import { createConnection } from 'mysql2/promise'
import { afterAll, expect, test } from 'vitest'
import { runLogged } from '../parts/run-logged.ts'
import { createPaths } from '../processes/paths.ts'
import { writePrivate } from '../processes/secrets.ts'
import { serviceNames, topics } from '../processes/services.ts'
import { startSecuredKafka, startSecuredMysql } from '../testing/secured-servers.ts'

const [kafka, mysql] = await Promise.all([startSecuredKafka(), startSecuredMysql()])
const folder = mkdtempSync(join(tmpdir(), 'sidecart-setup-'))
afterAll(async () => {
  rmSync(folder, { recursive: true })
  await Promise.all([kafka.close(), mysql.close()])
})

// As in production: both are reached by TLS alone, and their authority is not one that Node knows.
test('databases, users and topics are created on servers with TLS and logins, and again', async () => {
  const { administrator, careful, port } = mysql
  const admin = await createConnection({ ...administrator, host: '127.0.0.1', port })
  await admin.query("GRANT ALL PRIVILEGES ON *.* TO 'careful'@'127.0.0.1' REQUIRE SSL WITH GRANT OPTION")
  const authority = join(folder, 'authority.pem')
  writePrivate(authority, kafka.authority.cert + mysql.authority.cert)
  const input = join(folder, 'setup.json')
  const { name: username, password } = kafka.user
  writePrivate(
    input,
    JSON.stringify({
      mysqlUrl: `mysql://${careful.user}:${careful.password}@localhost:${port}/?tls=custom`,
      kafkaBrokers: kafka.brokers.saslSsl,
      kafkaLogin: { username, password },
      passwords: Object.fromEntries(serviceNames.map((name) => [name, 'secret'])),
    }),
  )
  for (const _ of ['once', 'again']) {
    await runLogged(
      join(folder, 'log'),
      createPaths('default').node,
      [join(import.meta.dirname, 'setup.ts'), input, 'mysql', 'kafka'],
      { env: { ...process.env, NODE_EXTRA_CA_CERTS: authority } },
    )
  }
  const [users] = await admin.query("SELECT User FROM mysql.user WHERE User IN ('orders', 'payments')")
  expect(users).toHaveLength(2)
  await admin.end()
  const client = new Kafka({ brokers: [kafka.brokers.plaintext], logLevel: logLevel.NOTHING }).admin()
  await client.connect()
  expect(await client.listTopics()).toEqual(expect.arrayContaining(topics))
  await client.disconnect()
})
