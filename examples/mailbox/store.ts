import { randomUUID } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'

/** `to`: one address. `createdAt`: RFC 3339. */
export type Mail = { id: string; from: string; to: string; subject: string; text: string; createdAt: string }
export type NewMail = Omit<Mail, 'id' | 'createdAt'>

export type MailStore = ReturnType<typeof openMailStore>

/** Opens the SQLite file with all mails, and creates it if needed. */
export function openMailStore(file: string) {
  mkdirSync(dirname(file), { recursive: true })
  const db = new DatabaseSync(file)
  // In WAL mode, "normal" survives kill -9 but not a power cut.
  db.exec(`
    pragma journal_mode = wal;
    pragma synchronous = normal;
    create table if not exists mails (
      seq integer primary key,
      id text not null,
      sender text not null,
      recipient text not null,
      subject text not null,
      text text not null,
      created_at text not null,
      idempotency_key text unique
    );
    create index if not exists mails_by_recipient on mails (recipient);
  `)
  const columns = 'id, sender as "from", recipient as "to", subject, text, created_at as createdAt'
  const statements = {
    byKey: db.prepare(`select ${columns} from mails where idempotency_key = ?`),
    add: db.prepare(
      `insert into mails (id, sender, recipient, subject, text, created_at, idempotency_key)
       values (?, ?, ?, ?, ?, ?, ?)`,
    ),
    newest: db.prepare(`select ${columns} from mails order by seq desc limit ?`),
    newestTo: db.prepare(`select ${columns} from mails where recipient = ? order by seq desc limit ?`),
  }

  return {
    close: () => db.close(),

    /**
     * Keeps a mail and returns its id. The same key again returns the same id, or 'other mail' if
     * that one differs.
     */
    add({ from, to, subject, text }: NewMail, key: string | undefined): { id: string } | 'other mail' {
      // SQLite is called synchronously, so concurrent requests run one at a time.
      const before = key === undefined ? undefined : (statements.byKey.get(key) as Mail | undefined)
      if (before) {
        const isSame = before.from === from && before.to === to && before.subject === subject && before.text === text
        return isSame ? { id: before.id } : 'other mail'
      }
      const id = randomUUID()
      statements.add.run(id, from, to, subject, text, new Date().toISOString(), key ?? null)
      return { id }
    },

    /** Returns mails, newest first; only those to one address if there is one. */
    list: (limit: number, to?: string): Mail[] =>
      (to === undefined ? statements.newest.all(limit) : statements.newestTo.all(to, limit)) as Mail[],
  }
}
