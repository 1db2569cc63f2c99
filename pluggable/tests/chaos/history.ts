// A writer's record of its transactions, one line before and one after each call, in a file that
// survives the writer's SIGKILL.
import { openSync, readFileSync, writeSync } from 'node:fs'
import type { ServiceError } from '@grpc/grpc-js'
import { z } from 'zod'
import type { Attempt, AttemptedEvent, Outcome } from './checker.ts'

const event = z.object({ id: z.string(), key: z.string(), over: z.string().optional() })
const line = z.union([
  z.object({ begin: z.string(), events: z.array(event) }),
  z.object({ end: z.string(), outcome: z.enum(['acked', 'refused', 'unknown']), because: z.string().optional() }),
])

/** Opens a history to append to. */
export function openHistory(file: string) {
  const handle = openSync(file, 'a')
  // One system call per line: written lines survive the process.
  const write = (entry: z.input<typeof line>) => void writeSync(handle, `${JSON.stringify(entry)}\n`)
  return {
    begin: (id: string, events: AttemptedEvent[]) => write({ begin: id, events }),
    end: (id: string, outcome: Outcome, because?: string) =>
      write({ end: id, outcome, ...(because === undefined ? {} : { because }) }),
  }
}

/**
 * Reads a history. A transaction without an end is unknown. `reasons` counts why calls were not
 * acknowledged.
 */
export function readHistory(file: string): { attempts: Attempt[]; reasons: Map<string, number> } {
  const attempts = new Map<string, Attempt>()
  const reasons = new Map<string, number>()
  for (const text of readFileSync(file, 'utf8').split('\n').filter(Boolean)) {
    const entry = line.parse(JSON.parse(text))
    if ('begin' in entry) {
      const events = entry.events.map(({ over, ...rest }) => ({ ...rest, ...(over === undefined ? {} : { over }) }))
      attempts.set(entry.begin, { id: entry.begin, outcome: 'unknown', events })
      continue
    }
    const attempt = attempts.get(entry.end)
    if (attempt) attempt.outcome = entry.outcome
    if (entry.because) reasons.set(entry.because, (reasons.get(entry.because) ?? 0) + 1)
  }
  return { attempts: [...attempts.values()], reasons }
}

// The component's codes for "nothing was written" (pluggable/README.md). After any other error the
// transaction may have been committed.
const refusals = /ETAG_MISMATCH|STORE_UNAVAILABLE|NOT_INITIALISED|EVENT_TOO_LARGE|EVENT_REFUSED|INVALID_REQUEST/

/** Returns what an error says about its transaction, with the component's or gRPC's code. */
export function judge(error: unknown): { outcome: Outcome; because: string } {
  // lib/dapr keeps the sidecar's error as the cause.
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
  const { details = '', code } = cause as Partial<ServiceError>
  const refusal = refusals.exec(details)?.[0]
  if (refusal) return { outcome: 'refused', because: refusal }
  return {
    outcome: 'unknown',
    because: /COMMIT_UNKNOWN|INTERNAL: [^(]{0,60}/.exec(details)?.[0] ?? `gRPC status ${code ?? 'none'}`,
  }
}
