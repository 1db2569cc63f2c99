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

/**
 * Charges, refunds and given answers in one SQLite file. An answer is stored in the transaction
 * that does what it tells of, so that a process that is killed at any moment still answers a
 * repeated request with what the first one did.
 */
export function openLedger(file: string) {
  mkdirSync(dirname(file), { recursive: true })
  const db = new DatabaseSync(file)
  // In WAL mode "normal" outlives a killed process, if not a power cut: enough for a sandbox, and
  // no fsync a charge.
  db.exec(`
    pragma journal_mode = wal;
    pragma synchronous = normal;
    create table if not exists intents (seq integer primary key, id text unique not null, amount integer not null, currency text not null, payment_method text not null,
      order_id text not null, status text not null, amount_refunded integer not null default 0, created integer not null);
    create table if not exists refunds (seq integer primary key, id text unique not null, payment_intent text not null, amount integer not null, created integer not null);
    create table if not exists answers (idempotency_key text primary key, request text not null, status integer not null, body text not null) without rowid;
    create table if not exists failures (idempotency_key text primary key, times integer not null) without rowid;
  `)
  const seconds = () => Math.floor(Date.now() / 1000)
  const newId = (prefix: string) => `${prefix}_${randomBytes(12).toString('hex')}`
  const intentColumns = 'id, amount, currency, payment_method, order_id, status, amount_refunded, created'
  const statements = {
    answer: db.prepare('select request, status, body from answers where idempotency_key = ?'),
    keep: db.prepare('insert into answers (idempotency_key, request, status, body) values (?, ?, ?, ?)'),
    addIntent: db.prepare(
      'insert into intents (id, amount, currency, payment_method, order_id, status, created) values (?, ?, ?, ?, ?, ?, ?)',
    ),
    intent: db.prepare(`select ${intentColumns} from intents where id = ?`),
    addRefund: db.prepare('insert into refunds (id, payment_intent, amount, created) values (?, ?, ?, ?)'),
    markRefunded: db.prepare('update intents set amount_refunded = amount_refunded + ? where id = ?'),
    fail: db.prepare(
      'insert into failures (idempotency_key, times) values (?, 1) on conflict do update set times = times + 1 returning times',
    ),
    intents: db.prepare(
      `select ${intentColumns} from intents where seq < coalesce((select seq from intents where id = ?), 9e18) order by seq desc limit ?`,
    ),
    refunds: db.prepare(
      'select id, payment_intent, amount, created from refunds where seq < coalesce((select seq from refunds where id = ?), 9e18) order by seq desc limit ?',
    ),
  }

  return {
    close: () => db.close(),

    /**
     * Does `work` once per idempotency key, in a transaction with its answer: a repeat is answered
     * with the same, a repeat with another `request` gets 'other request'. Without a key it is done
     * every time. `first` tells whether it was done now.
     */
    once(
      key: string | undefined,
      request: string,
      work: () => Answer,
    ): { answer: Answer; first: boolean } | 'other request' {
      // SQLite is asked synchronously, so that requests that come at the same time are done one
      // after another.
      const hash = createHash('sha256').update(request).digest('hex')
      const kept =
        key === undefined
          ? undefined
          : (statements.answer.get(key) as { request: string; status: number; body: string } | undefined)
      if (kept)
        return kept.request === hash
          ? { answer: { status: kept.status, body: JSON.parse(kept.body) }, first: false }
          : 'other request'
      db.exec('begin immediate')
      try {
        const answer = work()
        if (key !== undefined) statements.keep.run(key, hash, answer.status, JSON.stringify(answer.body))
        db.exec('commit')
        return { answer, first: true }
      } catch (error) {
        db.exec('rollback')
        throw error
      }
    },

    addIntent(o: {
      amount: number
      currency: string
      paymentMethod: string
      orderId: string
      status: Intent['status']
    }): Intent {
      const id = newId('pi')
      statements.addIntent.run(id, o.amount, o.currency, o.paymentMethod, o.orderId, o.status, seconds())
      return statements.intent.get(id) as Intent
    },
    intent: (id: string) => statements.intent.get(id) as Intent | undefined,

    addRefund(intent: Intent, amount: number): Refund {
      const refund = { id: newId('re'), payment_intent: intent.id, amount, created: seconds() }
      statements.addRefund.run(refund.id, refund.payment_intent, refund.amount, refund.created)
      statements.markRefunded.run(amount, intent.id)
      return refund
    },

    /** How many times this has been called for the key, over restarts too. */
    countFailure: (key: string): number => (statements.fail.get(key) as { times: number }).times,

    /** Newest first, after the one named `after`. */
    intents: (limit: number, after: string) => statements.intents.all(after, limit) as Intent[],
    refunds: (limit: number, after: string) => statements.refunds.all(after, limit) as Refund[],
  }
}
