import { randomUUID } from 'node:crypto'
import { createConnection, type RowDataPacket } from 'mysql2/promise'
import { describeStore } from '../outbox/store-suite.ts'

const url = process.env['TEST_MYSQL_URL'] ?? ''

describeStore({
  type: 'outbox-mysql',
  brokers: process.env['TEST_KAFKA_BROKERS'] ?? '',
  async createDatabase() {
    const name = `test_${randomUUID().replaceAll('-', '')}`
    const connection = await createConnection({ uri: url })
    await connection.query(`CREATE DATABASE ${name}`)
    const own = new URL(url)
    own.pathname = `/${name}`
    return {
      properties: { connectionString: own.href },
      waiting: async () => {
        const [rows] = await connection.query<RowDataPacket[]>(`SELECT COUNT(*) AS n FROM ${name}.state_outbox`)
        return Number(rows[0]?.['n'])
      },
      drop: async () => {
        await connection.query(`DROP DATABASE ${name}`)
        await connection.end()
      },
    }
  },
})
