import { appendFileSync, readFileSync, rmSync } from 'node:fs'
import { Binary, type ClientSession, type MongoClient } from 'mongodb'
import type { Logger } from '#lib/logger.ts'

export type OpenSessions = {
  /** Records a session before its first transaction. */
  record(session: ClientSession): void
  /** Ends the sessions of a former process of this Component. */
  endFormer(): Promise<void>
  /** Clears the record on a graceful shutdown, when no session is open any more. */
  forget(): void
}

/**
 * Records in a file the ids of the sessions in which this process has transactions. MongoDB does
 * not roll back a transaction when its client dies: its documents stay locked until the server
 * gives up on it, after a minute by default. A restarted component therefore ends its former
 * sessions, or writes to those keys would fail for that minute.
 */
export function openSessions(client: MongoClient, path: string, log: Logger): OpenSessions {
  const recorded = new Set<string>()
  const forget = () => {
    rmSync(path, { force: true })
    recorded.clear()
  }
  return {
    forget,
    record(session) {
      const id = (session.id?.['id'] as Binary | undefined)?.toString('hex')
      if (id === undefined || recorded.has(id)) return
      // The driver reuses its sessions, so this is a handful of lines in the life of a process.
      appendFileSync(path, `${id}\n`, { mode: 0o600 })
      recorded.add(id)
    },
    async endFormer() {
      let former: string[]
      try {
        former = readFileSync(path, 'utf8')
          .split('\n')
          .filter((line) => /^[0-9a-f]{32}$/.test(line))
      } catch {
        return
      }
      if (former.length === 0) return
      try {
        await client.db('admin').command({
          killSessions: former.map((id) => ({ id: new Binary(Buffer.from(id, 'hex'), Binary.SUBTYPE_UUID) })),
        })
        forget()
      } catch (error) {
        log.warn({ err: error }, 'could not end the sessions of a former process; their locks remain for a while')
      }
    },
  }
}
