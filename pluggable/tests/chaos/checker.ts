/** What a writer knows of a transaction: committed, not committed, or neither for certain. */
export type Outcome = 'acked' | 'refused' | 'unknown'

/**
 * A transaction as its writer knows it. It overwrites the state of each of its keys with its own
 * id, adds one event per key, and writes a row that later shows whether it was committed.
 */
export type Attempt = { id: string; outcome: Outcome; events: AttemptedEvent[] }

export type AttemptedEvent = {
  id: string
  key: string
  /** The transaction whose state this one overwrote, if an etag guaranteed which one it was. */
  over?: string
}

/** The content of the database at the end. */
export type FinalState = {
  /** The transactions whose row exists. */
  committed: Set<string>
  /** The transaction that wrote the state last, by key. */
  last: Map<string, string>
}

/** A record on Kafka. */
export type Arrival = { key: string; sequence: number; id: string; bytes: string; partition: number; offset: number }

export const violationKinds = {
  'lost commit': 'acknowledged, but not in the database',
  'undead commit': 'refused, but in the database',
  'lost event': 'in the database, but its event never reached Kafka',
  'event from nothing': 'on Kafka, but its transaction is not in the database',
  'two partitions': 'events of one key in more than one partition',
  'out of order': 'first arrived after a later event of its key',
  gap: 'a number of a key that never arrived',
  'changed repeat': 'a number of a key that arrived with different bytes',
  'event twice': 'one event under two numbers',
  'order of commits': 'numbers in a different order than the commits',
} as const

export type ViolationKind = keyof typeof violationKinds

export type Violation = { kind: ViolationKind; what: string }

/**
 * Compares what writers know and the database contains with what a plain consumer read, and returns
 * everything that an outbox must not do. A repeat with the same bytes is no violation.
 */
export function findViolations(attempts: Attempt[], state: FinalState, arrivals: Arrival[]): Violation[] {
  const found: Violation[] = []
  const say = (kind: ViolationKind, what: string) => void found.push({ kind, what })

  const arrived = Map.groupBy(arrivals, ({ id }) => id)
  const attempted = new Map<string, Attempt>()
  for (const attempt of attempts) {
    const committed = state.committed.has(attempt.id)
    if (attempt.outcome === 'acked' && !committed) say('lost commit', `transaction ${attempt.id}`)
    if (attempt.outcome === 'refused' && committed) say('undead commit', `transaction ${attempt.id}`)
    for (const { id, key } of attempt.events) {
      attempted.set(id, attempt)
      if (committed && !arrived.has(id)) say('lost event', `${id} of ${key}, ${attempt.outcome}`)
    }
  }
  for (const [id, records] of arrived) {
    const attempt = attempted.get(id)
    if (!attempt) say('event from nothing', `${id}, which no one wrote`)
    else if (!state.committed.has(attempt.id)) say('event from nothing', `${id}, ${attempt.outcome}`)
    const numbers = new Set(records.map(({ key, sequence }) => `${key} ${sequence}`))
    if (numbers.size > 1) say('event twice', `${id} as ${[...numbers].join(' and ')}`)
  }
  for (const [key, records] of Map.groupBy(arrivals, (each) => each.key)) {
    for (const violation of violationsOfKey(key, records, attempted, state.last.get(key))) found.push(violation)
  }
  return found
}

/** Counts the records that repeat an earlier one. */
export function countRepeats(arrivals: Arrival[]): number {
  return arrivals.length - new Set(arrivals.map(({ key, sequence }) => `${key} ${sequence}`)).size
}

function violationsOfKey(
  key: string,
  records: Arrival[],
  attempted: Map<string, Attempt>,
  last: string | undefined,
): Violation[] {
  const found: Violation[] = []
  const say = (kind: ViolationKind, what: string) => void found.push({ kind, what: `${key}: ${what}` })

  const partitions = new Set(records.map(({ partition }) => partition))
  if (partitions.size > 1) say('two partitions', [...partitions].join(' and '))

  const firsts = new Map<number, Arrival>()
  let highest = 0
  for (const record of records.toSorted((a, b) => a.partition - b.partition || a.offset - b.offset)) {
    const former = firsts.get(record.sequence)
    if (former) {
      if (former.bytes !== record.bytes)
        say('changed repeat', `${record.sequence} at ${place(former)} and ${place(record)}`)
      continue
    }
    firsts.set(record.sequence, record)
    if (record.sequence < highest) say('out of order', `${record.sequence} after ${highest} at ${place(record)}`)
    highest = Math.max(highest, record.sequence)
  }
  const missing = Array.from({ length: highest }, (_, n) => n + 1).filter((sequence) => !firsts.has(sequence))
  if (missing.length > 0)
    say(
      'gap',
      `${missing.slice(0, 5).join(', ')}${missing.length > 5 ? ` and ${missing.length - 5} more` : ''} of ${highest}`,
    )

  const transactionOf = (sequence: number) => {
    const first = firsts.get(sequence)
    return first && attempted.get(first.id)?.id
  }
  for (const [sequence, { id }] of firsts) {
    const over = attempted.get(id)?.events.find((event) => event.id === id)?.over
    const before = transactionOf(sequence - 1)
    // A missing predecessor is reported above.
    if (over !== undefined && before !== undefined && before !== over) {
      say('order of commits', `${sequence} overwrote the state of ${over}, but ${sequence - 1} is from ${before}`)
    }
  }
  const newest = transactionOf(highest)
  if (newest !== undefined && newest !== last)
    say('order of commits', `the last event is from ${newest}, the state from ${last ?? 'no one'}`)
  return found
}

const place = ({ partition, offset }: Arrival) => `${partition}/${offset}`
