import { randomUUID } from 'node:crypto'
import { createPool } from 'mysql2/promise'
import { cloudEvent, type Change } from './contender.ts'

/**
 * Connects mysql2 alone: one state upsert and one outbox insert per transaction, as prepared
 * statements, on one connection per caller.
 */
export async function createDriverMysql(
  url: string,
): Promise<{ transact: (change: Change) => Promise<void>; close: () => Promise<void> }> {
  const pool = createPool({ uri: url, connectionLimit: 64, maxIdle: 64, charset: 'utf8mb4_bin' })
  // The state table of Dapr's state.mysql, and an ordinary outbox table.
  await pool.query(`CREATE TABLE state (
    id VARCHAR(255) NOT NULL PRIMARY KEY, value JSON NOT NULL, isbinary BOOLEAN NOT NULL,
    insertDate TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updateDate TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
    eTag VARCHAR(36) NOT NULL, expiredate TIMESTAMP NULL, INDEX expiredate_idx (expiredate)
  ) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4`)
  await pool.query(`CREATE TABLE outbox (
    id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, partition_key VARCHAR(255) NOT NULL,
    event_id VARCHAR(255) NOT NULL, payload LONGBLOB NOT NULL,
    created TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3)
  ) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4`)
  return {
    async transact(change) {
      const connection = await pool.getConnection()
      try {
        await connection.beginTransaction()
        await connection.execute(
          `INSERT INTO state (id, value, isbinary, eTag) VALUES (?, ?, 0, ?) ON DUPLICATE KEY UPDATE
           value = VALUES(value), isbinary = VALUES(isbinary), eTag = VALUES(eTag), expiredate = NULL`,
          [change.key, JSON.stringify(change.value), randomUUID()],
        )
        await connection.execute('INSERT INTO outbox (partition_key, event_id, payload) VALUES (?, ?, ?)', [
          change.key,
          change.id,
          cloudEvent(change),
        ])
        await connection.commit()
      } catch (error) {
        await connection.rollback().catch(() => {})
        throw error
      } finally {
        connection.release()
      }
    },
    close: () => pool.end(),
  }
}
