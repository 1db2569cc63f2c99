// A MySQL or MariaDB with a row-based binary log, which Kafka Connect's connectors need. The shop's
// own server writes none.
import { closeSync, mkdirSync, mkdtempSync, openSync, readSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createConnection, type RowDataPacket } from 'mysql2/promise'
import { initialiseMysql } from '../start/data-folders.ts'
import { isMariaDb } from '../processes/servers.ts'
import { freePorts } from '../free-ports.ts'
import { ensureProgram, runServer } from './secured-servers.ts'

/** An event of the binary log. `body` is what follows its header. */
export type BinlogEvent = { type: string; info: string; body: Buffer }

export type BinlogServer = {
  /** As root, no database selected. */
  url: string
  /** Returns what was committed since the position `from`, in order; `end` is the next position. */
  events: (from?: number) => Promise<{ events: BinlogEvent[]; end: number }>
  close: () => Promise<void>
}

const headerBytes = 19

/**
 * Starts the server with empty data in a temporary folder.
 * @param logOptions server options that say what the log contains
 * @throws Error with the end of its output when it does not start
 */
export async function startBinlogServer(
  logOptions = ['--binlog-format=ROW', '--binlog-row-image=FULL'],
): Promise<BinlogServer> {
  const mysql = await ensureProgram('mysql')
  const folder = mkdtempSync(join(tmpdir(), 'binlog-'))
  const log = join(folder, 'server.log')
  const [data, temporary] = [join(folder, 'data'), join(folder, 'tmp')]
  mkdirSync(temporary)
  await initialiseMysql(mysql, data, temporary, log)
  const [port = 0] = await freePorts(1)
  const command = [
    mysql.path,
    '--no-defaults',
    ...(mysql.from === 'cache' ? [`--basedir=${dirname(dirname(mysql.path))}`] : []),
    ...(process.getuid?.() === 0 ? ['--user=root'] : []),
    `--datadir=${data}`,
    `--tmpdir=${temporary}`,
    `--port=${port}`,
    '--bind-address=127.0.0.1',
    `--socket=${join(folder, 's')}`,
    `--pid-file=${join(folder, 'pid')}`,
    '--innodb-buffer-pool-size=64M',
    ...(isMariaDb({ mysql }) ? ['--skip-ssl'] : []),
    '--server-id=1',
    '--log-bin=binlog',
    ...logOptions,
  ]
  const close = await runServer('MySQL with a binary log', { folder, log, command, port })
  const url = `mysql://root@127.0.0.1:${port}/`

  async function events(from = 4): Promise<{ events: BinlogEvent[]; end: number }> {
    const connection = await createConnection({ uri: url })
    const [rows] = await connection.query<RowDataPacket[]>(`SHOW BINLOG EVENTS FROM ${from}`)
    await connection.end()
    const file = openSync(join(data, String(rows[0]?.['Log_name'] ?? 'binlog.000001')), 'r')
    try {
      const found = rows.map((row, n) => {
        // Within a transaction MariaDB's End_log_pos is not always the next event's Pos.
        const [start, end] = [Number(row['Pos']), Number(rows[n + 1]?.['Pos'] ?? row['End_log_pos'])]
        const body = Buffer.alloc(Math.max(0, end - start - headerBytes))
        readSync(file, body, 0, body.length, start + headerBytes)
        return { type: String(row['Event_type']), info: String(row['Info']), body }
      })
      return { events: found, end: Number(rows.at(-1)?.['End_log_pos'] ?? from) }
    } finally {
      closeSync(file)
    }
  }
  return { url, events, close }
}
