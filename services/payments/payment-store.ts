import { createBatches, type Draft } from '#lib/batches.ts'
import type { StateStore } from '#lib/dapr.ts'
import { dueKey, type DueRow } from '#lib/key-ranges.ts'
import {
  lease,
  onResult,
  paymentSchema,
  requestRefund,
  type CallResult,
  type Decision,
  type Payment,
  type RefundRequest,
  type Task,
  type Timing,
} from './payment.ts'

export const paymentKey = (orderId: string) => `payment:{${orderId}}`

/** The queue of payments that a worker is to look at (lib/key-ranges.ts). */
export const queue = 'payments'

/** A payment that is this process's own until `until` (epoch ms), and what to do. */
export type Leased = { payment: Payment; task: Task; until: number }

/** A payment after a decision; `leased` if this process is to go on with it at once. */
export type Outcome = { payment: Payment | undefined; isChanged: boolean; leased?: Leased }

export type PaymentStore = ReturnType<typeof createPaymentStore>

/**
 * Creates the store of payments. A payment has at most one due row, which is stored, moved and
 * deleted with it. Everything throws `unavailable` while the store is.
 */
export function createPaymentStore(deps: { state: StateStore; now: () => number; timing: Timing }) {
  const { state, now, timing } = deps
  const batches = createBatches(state)

  /** Returns the payment of a draft that names its key. */
  const read = (draft: Draft, orderId: string): Payment | undefined => draft.get(paymentKey(orderId), paymentSchema)

  /** Drafts a payment and its due row. */
  function write(draft: Draft, before: Payment | undefined, after: Payment): void {
    draft.put(paymentKey(after.orderId), after)
    if (before?.due === after.due) return
    if (before?.due !== undefined) draft.delete(rowKey(before.orderId, before.due))
    if (after.due !== undefined) draft.put(rowKey(after.orderId, after.due), 1)
  }

  /** Drafts what was decided. If `takes`, a payment that is due then becomes this process's own. */
  function apply(draft: Draft, before: Payment | undefined, decision: Decision, takes: boolean): Outcome {
    if (decision.outcome !== 'changed') return { payment: before, isChanged: false }
    const { payment, event } = decision
    if (event) draft.publish({ ...event, key: payment.orderId })
    const leased = takes && isDueAt(payment, now()) ? lease(payment, now(), timing) : undefined
    write(draft, before, leased?.payment ?? payment)
    return { payment, isChanged: true, ...(leased && { leased: { ...leased, until: now() + timing.leaseMs } }) }
  }

  return {
    batches,

    /** Returns an order's payment, or undefined. */
    get: async (orderId: string): Promise<Payment | undefined> =>
      (await state.get(paymentKey(orderId), paymentSchema))?.value,

    /** Drafts what `decide` changes. The draft's work names the payment's key. */
    change(
      draft: Draft,
      orderId: string,
      decide: (known: Payment | undefined, now: number) => Decision,
      { takes }: { takes: boolean },
    ): Outcome {
      const before = read(draft, orderId)
      return apply(draft, before, decide(before, now()), takes)
    },

    /** Takes the payment of a due row. Returns undefined if another worker was faster. */
    takeDue: (row: DueRow): Promise<Leased | undefined> =>
      batches.commit({
        keys: [paymentKey(row.id)],
        decide(draft) {
          const known = read(draft, row.id)
          const leased = known?.due === row.at ? lease(known, now(), timing) : undefined
          if (leased) write(draft, known, leased.payment)
          // The payment has moved on since the row was found, and taken it along.
          else draft.delete(row.key)
          return leased && { ...leased, until: now() + timing.leaseMs }
        },
      }),

    /**
     * Stores the result of a task. If there is more to do at once, this process goes on with it.
     */
    finish(task: Task, result: CallResult): Promise<Outcome> {
      // Drawn once, so that deciding again decides the same.
      const random = Math.random()
      return batches.commit({
        keys: [paymentKey(task.orderId)],
        decide(draft) {
          const before = read(draft, task.orderId)
          return apply(draft, before, onResult(before, task, result, now(), random, timing), true)
        },
      })
    },

    /** Records a refund that is to be made, or says why it must not be. */
    requestRefund: (orderId: string, request: RefundRequest) =>
      batches.commit({
        keys: [paymentKey(orderId)],
        decide(draft) {
          const before = read(draft, orderId)
          const decision = requestRefund(before, request, now())
          if (decision.outcome === 'rejected') return decision
          return { outcome: 'accepted' as const, ...apply(draft, before, decision, true), payment: decision.payment }
        },
      }),
  }
}

const rowKey = (orderId: string, at: string) => dueKey({ queue, at, tag: orderId, id: orderId })
const isDueAt = ({ due }: Payment, now: number) => due !== undefined && Date.parse(due) <= now
