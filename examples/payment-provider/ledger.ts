import { createHash, randomBytes } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'

export type Intent = {
  id: string
  amount: number
  currency: string
  payment_method: string
  order_id: string
  status: 'succeeded' | 'requires_payment_method'
  amount_refunded: number
  created: number
}
export type Refund = { id: string; payment_intent: string; amount: number; created: number }
export type Answer = { status: number; body: unknown }

export type Ledger = ReturnType<typeof openLedger>

const schema = `
  create table if not exists intents (
    seq integer primary key,
    id text unique not null,
    amount integer not null,
    currency text not null,
    payment_method text not null,
    order_id text not null,
    status text not null,
    amount_refunded integer not null default 0,
    created integer not null
  );
  create table if not exists refunds (
    seq integer primary key,
    id text unique not null,
    payment_intent text not null,
    amount integer not null,
    created integer not null
  );
  create table if not exists answers (
    idempotency_key text primary key,
    request text not null,
    status integer not null,
    body text not null
  ) without rowid;
  create table if not exists failures (
    idempotency_key text primary key,
    times integer not null
  ) without rowid;
`

type NewIntent = {
  amount: number
  currency: string
  paymentMethod: string
  orderId: string
  status: Intent['status']
}

/**
 * Opens the SQLite file with charges, refunds and responses, and creates it if needed. A response
 * is stored in the transaction of its charge or refund, so that a repeated request gets the first
 * response even if the process was killed in between.
 */
export function openLedger(file: string) {
  mkdirSync(dirname(file), { recursive: true })
  const db = new DatabaseSync(file)
  // In WAL mode, "normal" survives kill -9 but not a power cut. That is enough for a sandbox and
  // saves an fsync per charge.
  db.exec('pragma journal_mode = wal; pragma synchronous = normal')
  db.exec(schema)
  const seconds = () => Math.floor(Date.now() / 1000)
  const newId = (prefix: string) => `${prefix}_${randomBytes(12).toString('hex')}`
  const intentColumns = 'id, amount, currency, payment_method, order_id, status, amount_refunded, created'
  const statements = {
    answer: db.prepare('select request, status, body from answers where idempotency_key = ?'),
    addAnswer: db.prepare('insert into answers (idempotency_key, request, status, body) values (?, ?, ?, ?)'),
    addIntent: db.prepare(
      `insert into intents (id, amount, currency, payment_method, order_id, status, created)
       values (?, ?, ?, ?, ?, ?, ?)`,
    ),
    intent: db.prepare(`select ${intentColumns} from intents where id = ?`),
    addRefund: db.prepare('insert into refunds (id, payment_intent, amount, created) values (?, ?, ?, ?)'),
    markRefunded: db.prepare('update intents set amount_refunded = amount_refunded + ? where id = ?'),
    fail: db.prepare(
      `insert into failures (idempotency_key, times) values (?, 1)
       on conflict do update set times = times + 1 returning times`,
    ),
    intents: db.prepare(
      `select ${intentColumns} from intents
       where seq < coalesce((select seq from intents where id = ?), 9e18)
       order by seq desc limit ?`,
    ),
    refunds: db.prepare(
      `select id, payment_intent, amount, created from refunds
       where seq < coalesce((select seq from refunds where id = ?), 9e18)
       order by seq desc limit ?`,
    ),
  }

  return {
    close: () => db.close(),

    /**
     * Runs `work` once per idempotency key and stores its response in the same transaction. A
     * repeat returns the stored response (`first` is false), or 'other request' if its `request`
     * differs. Without a key, `work` runs every time.
     */
    once(
      key: string | undefined,
      request: string,
      work: () => Answer,
    ): { answer: Answer; first: boolean } | 'other request' {
      // SQLite is called synchronously, so concurrent requests run one at a time.
      const hash = createHash('sha256').update(request).digest('hex')
      const stored =
        key === undefined
          ? undefined
          : (statements.answer.get(key) as { request: string; status: number; body: string } | undefined)
      if (stored)
        return stored.request === hash
          ? { answer: { status: stored.status, body: JSON.parse(stored.body) }, first: false }
          : 'other request'
      db.exec('begin immediate')
      try {
        const answer = work()
        if (key !== undefined) statements.addAnswer.run(key, hash, answer.status, JSON.stringify(answer.body))
        db.exec('commit')
        return { answer, first: true }
      } catch (error) {
        db.exec('rollback')
        throw error
      }
    },

    addIntent({ amount, currency, paymentMethod, orderId, status }: NewIntent): Intent {
      const id = newId('pi')
      statements.addIntent.run(id, amount, currency, paymentMethod, orderId, status, seconds())
      return statements.intent.get(id) as Intent
    },
    intent: (id: string) => statements.intent.get(id) as Intent | undefined,

    addRefund(intent: Intent, amount: number): Refund {
      const refund = { id: newId('re'), payment_intent: intent.id, amount, created: seconds() }
      statements.addRefund.run(refund.id, refund.payment_intent, refund.amount, refund.created)
      statements.markRefunded.run(amount, intent.id)
      return refund
    },

    /** Counts a failure for the key and returns how many there are, across restarts. */
    countFailure: (key: string): number => (statements.fail.get(key) as { times: number }).times,

    /** Returns at most `limit`, newest first, starting after the id `after` if it exists. */
    intents: (limit: number, after: string) => statements.intents.all(after, limit) as Intent[],
    refunds: (limit: number, after: string) => statements.refunds.all(after, limit) as Refund[],
  }
}
