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
  status: 'succeeded' | 'processing' | 'requires_payment_method' | 'requires_action'
  amount_refunded: number
  created: number
  /** What the bank said; empty unless declined. */
  code: string
  decline_code: string
}
export type Refund = {
  id: string
  payment_intent: string
  amount: number
  created: number
  order_id: string
  refund_id: string
}
export type Answer = { status: number; body: unknown }

export type Ledger = ReturnType<typeof openLedger>

// One entry for each version of the file.
const migrations = [
  `
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
  `,
  `
  alter table intents add column code text not null default '';
  alter table intents add column decline_code text not null default '';
  -- In milliseconds: when it is found by a search, and when one that is processing is charged.
  alter table intents add column created_ms integer not null default 0;
  alter table intents add column succeeds_ms integer;
  create index intents_by_order on intents (order_id);
  alter table refunds add column order_id text not null default '';
  alter table refunds add column refund_id text not null default '';
  create index refunds_by_intent on refunds (payment_intent);
  alter table answers add column created_ms integer not null default 0;
  `,
]

type NewIntent = {
  amount: number
  currency: string
  paymentMethod: string
  orderId: string
  status: Intent['status']
  code?: string
  declineCode?: string
  /** Of one that is processing. */
  succeedsAfterMs?: number
}

/**
 * Opens the SQLite file with charges, refunds and responses, and creates it if needed. A response
 * is stored in the transaction of its charge or refund, so that a repeated request gets the first
 * response even if the process was killed in between. A response is forgotten after `keyMs`, and a
 * search finds charges after `searchLagMs`.
 */
export function openLedger(file: string, { keyMs, searchLagMs }: { keyMs: number; searchLagMs: number }) {
  mkdirSync(dirname(file), { recursive: true })
  const db = new DatabaseSync(file)
  // In WAL mode, "normal" survives kill -9 but not a power cut. That is enough for a sandbox and
  // saves an fsync per charge.
  db.exec('pragma journal_mode = wal; pragma synchronous = normal')
  const { user_version: version } = db.prepare('pragma user_version').get() as { user_version: number }
  for (const [i, migration] of migrations.entries())
    if (i >= version) db.exec(`begin; ${migration}; pragma user_version = ${i + 1}; commit`)
  const seconds = () => Math.floor(Date.now() / 1000)
  const newId = (prefix: string) => `${prefix}_${randomBytes(12).toString('hex')}`
  const status = "iif(succeeds_ms <= unixepoch('subsec') * 1000, 'succeeded', status) as status"
  const intentColumns = `id, amount, currency, payment_method, order_id, ${status}, amount_refunded, created,
    code, decline_code`
  const refundColumns = 'id, payment_intent, amount, created, order_id, refund_id'
  const statements = {
    answer: db.prepare('select request, status, body from answers where idempotency_key = ? and created_ms > ?'),
    addAnswer: db.prepare(
      'insert or replace into answers (idempotency_key, request, status, body, created_ms) values (?, ?, ?, ?, ?)',
    ),
    addIntent: db.prepare(
      `insert into intents (id, amount, currency, payment_method, order_id, status, created, code, decline_code,
         created_ms, succeeds_ms)
       values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    ),
    intent: db.prepare(`select ${intentColumns} from intents where id = ?`),
    addRefund: db.prepare(`insert into refunds (${refundColumns}) values (?, ?, ?, ?, ?, ?)`),
    markRefunded: db.prepare('update intents set amount_refunded = amount_refunded + ? where id = ?'),
    fail: db.prepare(
      `insert into failures (idempotency_key, times) values (?, 1)
       on conflict do update set times = times + 1 returning times`,
    ),
    found: db.prepare(
      `select ${intentColumns} from intents where order_id = ? and created_ms <= ? order by seq desc limit ?`,
    ),
    intents: db.prepare(
      `select ${intentColumns} from intents
       where seq < coalesce((select seq from intents where id = ?), 9e18)
       order by seq desc limit ?`,
    ),
    refunds: db.prepare(
      `select ${refundColumns} from refunds
       where seq < coalesce((select seq from refunds where id = ?), 9e18)
       order by seq desc limit ?`,
    ),
    refundsOf: db.prepare(
      `select ${refundColumns} from refunds
       where payment_intent = ? and seq < coalesce((select seq from refunds where id = ?), 9e18)
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
          : (statements.answer.get(key, Date.now() - keyMs) as
              | { request: string; status: number; body: string }
              | undefined)
      if (stored)
        return stored.request === hash
          ? { answer: { status: stored.status, body: JSON.parse(stored.body) }, first: false }
          : 'other request'
      db.exec('begin immediate')
      try {
        const answer = work()
        if (key !== undefined)
          statements.addAnswer.run(key, hash, answer.status, JSON.stringify(answer.body), Date.now())
        db.exec('commit')
        return { answer, first: true }
      } catch (error) {
        db.exec('rollback')
        throw error
      }
    },

    addIntent(intent: NewIntent): Intent {
      const { amount, currency, paymentMethod, orderId, status, code = '', declineCode = '', succeedsAfterMs } = intent
      const id = newId('pi')
      const now = Date.now()
      const succeeds = succeedsAfterMs === undefined ? null : now + succeedsAfterMs
      statements.addIntent.run(
        id,
        amount,
        currency,
        paymentMethod,
        orderId,
        status,
        seconds(),
        code,
        declineCode,
        now,
        succeeds,
      )
      return statements.intent.get(id) as Intent
    },
    intent: (id: string) => statements.intent.get(id) as Intent | undefined,

    addRefund(intent: Intent, amount: number, { orderId, refundId }: { orderId: string; refundId: string }): Refund {
      const id = newId('re')
      const created = seconds()
      statements.addRefund.run(id, intent.id, amount, created, orderId, refundId)
      statements.markRefunded.run(amount, intent.id)
      return { id, payment_intent: intent.id, amount, created, order_id: orderId, refund_id: refundId }
    },

    /** Counts a failure for the key and returns how many there are, across restarts. */
    countFailure: (key: string): number => (statements.fail.get(key) as { times: number }).times,

    /** Returns an order's charges that a search finds, newest first. */
    search: (orderId: string, limit: number) =>
      statements.found.all(orderId, Date.now() - searchLagMs, limit) as Intent[],

    /** Returns at most `limit`, newest first, starting after the id `after` if it exists. */
    intents: (limit: number, after: string) => statements.intents.all(after, limit) as Intent[],
    /** Of one charge, if `intent` is not empty. */
    refunds: (limit: number, after: string, intent: string) =>
      (intent === ''
        ? statements.refunds.all(after, limit)
        : statements.refundsOf.all(intent, after, limit)) as Refund[],
  }
}
