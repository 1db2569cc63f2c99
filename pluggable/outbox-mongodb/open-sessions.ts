import { appendFileSync, readFileSync, rmSync } from 'node:fs'
import { Binary, type ClientSession, type MongoClient } from 'mongodb'
import type { Logger } from 'pino'

export type OpenSessions = {
  /** Writes down a session before its first transaction. */
  note(session: ClientSession): void
  /** Ends what a former process of this instance left behind. */
  endFormer(): Promise<void>
  /** For a graceful end: nothing is open any more. */
  forget(): void
}

/**
 * The ids of the sessions in which this process has transactions, in a file. MongoDB does not roll
 * a transaction back when its client dies: its documents stay locked until the server gives up on
 * it, a minute by default. A restarted component therefore ends its former sessions itself, or the
 * keys that were being written would be refused for that minute.
 */
export function openSessions(client: MongoClient, path: string, log: Logger): OpenSessions {
  const noted = new Set<string>()
  const forget = () => {
    rmSync(path, { force: true })
    noted.clear()
  }
  return {
    forget,
    note(session) {
      const id = (session.id?.['id'] as Binary | undefined)?.toString('hex')
      if (id === undefined || noted.has(id)) return
      // The driver uses its sessions again and again, so this is a handful of lines in a process's
      // life.
      appendFileSync(path, `${id}\n`, { mode: 0o600 })
      noted.add(id)
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
        log.warn(
          { err: error },
          'could not end the sessions of a former process; what they lock stays locked for a while',
        )
      }
    },
  }
}
