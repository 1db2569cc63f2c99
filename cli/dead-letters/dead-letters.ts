// What waits in a dead-letter topic, from the records in it. No I/O.
import * as z from 'zod'
import { parkedType } from '#lib/consumer.ts'

/**
 * A record of a dead-letter topic. `value` is a CloudEvent as JSON; `topic` is where it came from,
 * as daprd notes in the header `__topic`.
 */
export type DeadRecord = {
  partition: number
  offset: bigint
  key: string
  value: string
  at: Date
  topic: string | undefined
}

/** An event that waits. `reason` and `attempts` are known of the first one of a parked key. */
export type DeadLetter = {
  id: string
  type: string
  /** The topic that it came from. */
  topic: string | undefined
  key: string
  since: Date
  reason: string
  attempts: number
  event: Record<string, unknown>
  partition: number
  offset: bigint
}

/** The type of the record that says which events no longer wait. */
export const settledType = 'sidecart.events-settled.v1'
const settledSchema = z.object({
  type: z.literal(settledType),
  /** Every record of these events up to these offsets is settled. */
  data: z.object({ events: z.array(z.object({ id: z.string(), partition: z.int(), offset: z.string() })) }),
})
const parkedSchema = z.object({
  type: z.literal(parkedType),
  data: z.object({ eventId: z.string(), reason: z.string(), attempt: z.number() }),
})
const eventSchema = z.looseObject({ id: z.string(), type: z.string() })

/**
 * Returns the events that wait, by key, each once and in the order in which they were put there. A
 * record that is no CloudEvent is shown with its text.
 */
export function deadLetters(records: DeadRecord[]): Map<string, DeadLetter[]> {
  const settled = new Map<string, bigint>()
  const parked = new Map<string, z.infer<typeof parkedSchema>['data']>()
  const letters = new Map<string, DeadLetter>()
  const ordered = records.toSorted((a, b) => a.partition - b.partition || (a.offset < b.offset ? -1 : 1))
  for (const { partition, offset, key, value, at, topic } of ordered) {
    const json = parse(value)
    const settling = settledSchema.safeParse(json).data
    if (settling) {
      for (const each of settling.data.events) settled.set(`${each.partition}:${each.id}`, BigInt(each.offset))
      continue
    }
    const why = parkedSchema.safeParse(json).data?.data
    if (why) {
      parked.set(why.eventId, why)
      continue
    }
    const event = eventSchema.safeParse(json).data ?? { id: `${partition}:${offset}`, type: 'not a CloudEvent', value }
    const { id, type } = event
    // The first record gives its place among the others, the last one what has to be settled.
    const since = letters.get(id)?.since ?? at
    letters.set(id, { id, type, topic, key, since, reason: '', attempts: 0, event, partition, offset })
  }
  const byKey = new Map<string, DeadLetter[]>()
  for (const letter of letters.values()) {
    if ((settled.get(`${letter.partition}:${letter.id}`) ?? -1n) >= letter.offset) continue
    const why = parked.get(letter.id)
    const known = why ? { reason: why.reason, attempts: why.attempt } : {}
    byKey.set(letter.key, [...(byKey.get(letter.key) ?? []), { ...letter, ...known }])
  }
  return byKey
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
