import { random } from '../../platform/random.ts'

/**
 * What goes wrong, and how long after the step before. Unless it is `eager`, the shop has accepted
 * an order again by then.
 */
export type Step = { afterMs: number; eager: boolean } & (
  | { action: 'kill'; victim: string }
  /** SIGSTOP, and SIGCONT after this long. */
  | { action: 'freeze'; victim: string; forMs: number }
)

/** Processes by what they are: each kind is hit as often as any other. */
export type Victims = Record<'service' | 'sidecar' | 'component' | 'server', string[]>

/** Longer than a relay's lease, and (every other one) longer than that of a payment's worker. */
const freezeMs = [8_000, 35_000]

const freezeEvery = 5

/**
 * Plans steps without end: the same for the same seed and victims. Each round hits every kind once
 * in random order, and every fifth step freezes a process that is not a server.
 */
export function* createPlan(seed: number, victims: Victims): Generator<Step> {
  const next = random(seed)
  const below = (n: number) => Math.floor(next() * n)
  const pick = (from: string[]) => from[below(from.length)]!
  const frozen = [...victims.service, ...victims.component, ...victims.sidecar]
  let round: (keyof Victims)[] = []
  for (let n = 1; ; n += 1) {
    // Short waits find most.
    const when = { afterMs: 200 + Math.round(4_000 * next() ** 2), eager: next() < 0.3 }
    if (n % freezeEvery === 0) {
      yield { ...when, action: 'freeze', victim: pick(frozen), forMs: freezeMs[(n / freezeEvery) % freezeMs.length]! }
    } else {
      if (round.length === 0) round = shuffled(Object.keys(victims) as (keyof Victims)[], below)
      yield { ...when, action: 'kill', victim: pick(victims[round.pop()!]) }
    }
  }
}

function shuffled<T>(items: readonly T[], below: (n: number) => number): T[] {
  const rest = [...items]
  return items.map(() => rest.splice(below(rest.length), 1)[0]!)
}

export const describeStep = (step: Step): string =>
  step.action === 'kill' ? `kill ${step.victim}` : `freeze ${step.victim} for ${step.forMs / 1_000} s`
