import { numberKeyOf } from './event.ts'

/**
 * Returns the rows that may be sent now: those without a gap in their key's numbers. A gap means
 * that an earlier event has not been read, so it and everything after it in that key waits for the
 * next read.
 */
export function withoutGaps<Row extends { partitionKey: string; topic?: string; sequence: number }>(
  rows: Row[],
): Row[] {
  const last = new Map<string, number>()
  return rows.filter(({ partitionKey, topic, sequence }) => {
    const key = numberKeyOf(partitionKey, topic)
    const previous = last.get(key)
    if (previous !== undefined && sequence !== previous + 1) return false
    last.set(key, sequence)
    return true
  })
}

/** The most that a record takes in a Kafka batch besides its key and value. */
const recordBytes = 40

/** Returns as many of the first rows as stay within the limits, but at least one. */
export function firstOf<Row extends { partitionKey: string; payload: Buffer }>(
  rows: Row[],
  limits: { rows: number; bytes: number },
): Row[] {
  let bytes = 0
  const end = rows.findIndex(({ partitionKey, payload }, index) => {
    bytes += Buffer.byteLength(partitionKey) + payload.length + recordBytes
    return index > 0 && (index >= limits.rows || bytes > limits.bytes)
  })
  return end < 0 ? rows : rows.slice(0, end)
}
