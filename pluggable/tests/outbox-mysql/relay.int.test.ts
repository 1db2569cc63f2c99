import { createConnection } from 'mysql2/promise'
import { describeRelay } from '../relay-suite.ts'
import { mysqlUnderTest } from '../stores.ts'

describeRelay({
  ...mysqlUnderTest(),
  async lockRow({ properties }, key) {
    const connection = await createConnection({ uri: properties['connectionString'] ?? '' })
    await connection.beginTransaction()
    await connection.query('SELECT id FROM state WHERE id = ? FOR UPDATE', [`app||${key}`])
    return {
      async release() {
        await connection.rollback()
        await connection.end()
      },
    }
  },
})
