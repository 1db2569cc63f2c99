import { randomUUID } from 'node:crypto'
import { rmSync } from 'node:fs'
import { MongoClient } from 'mongodb'
import { createConnection } from 'mysql2/promise'
import { startChild } from '../../../platform/child.ts'
import { startComponentProcess } from '../../../platform/testing/component-process.ts'

export type ConformanceOptions = {
  /** The compiled suite. */
  program: string
  /** With logins that may create databases. */
  mongodbUri: string
  mysqlUrl: string
  /** Further flags of the suite. */
  args?: string[]
  /** Takes the suite's output as it comes. */
  write(text: string): void
}

/**
 * Runs Dapr's conformance suite against both stores, each in its own process and database, which
 * are removed afterwards.
 * @returns the suite's exit code
 * @throws Error when a component or a database does not start
 */
export async function runConformance({
  program,
  mongodbUri,
  mysqlUrl,
  args = [],
  write,
}: ConformanceOptions): Promise<number> {
  const name = `conformance_${randomUUID().slice(0, 8)}`
  const closers: (() => unknown)[] = []
  try {
    const connection = await createConnection({ uri: mysqlUrl })
    closers.push(() => connection.end())
    await connection.query(`CREATE DATABASE ${name}`)
    closers.push(() => connection.query(`DROP DATABASE ${name}`))
    const client = await new MongoClient(mongodbUri).connect()
    closers.push(
      () => client.close(),
      () => client.db(name).dropDatabase(),
    )

    const own = new URL(mysqlUrl)
    own.pathname = `/${name}`
    const metadata = {
      'outbox-mysql': { connectionString: own.href },
      'outbox-mongodb': { connectionString: mongodbUri, databaseName: name },
    }
    const stores = []
    for (const type of ['outbox-mysql', 'outbox-mongodb'] as const) {
      const component = await startComponentProcess(type)
      closers.push(
        () => rmSync(component.folder, { recursive: true, force: true }),
        () => component.kill('SIGTERM'),
      )
      stores.push({ name: type, socket: component.socket, metadata: metadata[type] })
    }
    const env = { PATH: process.env['PATH'], CONFORMANCE_STORES: JSON.stringify(stores) }
    const { ended } = startChild(program, ['-test.v', '-test.timeout=300s', ...args], { env, onOutput: write })
    return (await ended).code ?? 1
  } finally {
    for (const close of closers.toReversed()) await close()
  }
}
