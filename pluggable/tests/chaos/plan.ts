import { random } from '../../../platform/random.ts'

/** What can be killed. Of the first three there are two of each, one a replica. */
export const victims = ['component', 'sidecar', 'service', 'kafka', 'database'] as const

export type Victim = (typeof victims)[number]

/**
 * Each step begins `afterMs` after the one before; an `eager` one then, any other only once a
 * transaction got through again.
 */
export type Step = { afterMs: number; eager: boolean } & (
  | { action: 'kill'; victim: Victim; replica: number }
  /** Stopped (SIGSTOP) past its lease, and let go on. */
  | { action: 'freeze'; replica: number; forMs: number }
  /** Ended, and started again only after this long. */
  | { action: 'kafka away'; forMs: number }
)

export const replicas = 2

const freezeEvery = 12

/**
 * What will happen in a run: the same for the same seed and counts. Victims come in rounds, each
 * once a round in an order by chance, so that a short run meets all of them. In the middle Kafka
 * goes away for a while.
 */
export function createPlan(seed: number, kills: number, kafkaAwayMs: number): Step[] {
  const next = random(seed)
  const below = (n: number) => Math.floor(next() * n)
  // Short waits are the interesting ones: half of them are under a second.
  const timing = () => ({ afterMs: 100 + Math.round(3_000 * next() ** 2), eager: next() < 0.3 })
  const steps: Step[] = []
  let round: Victim[] = []
  for (let kill = 0; kill < kills; kill += 1) {
    if (round.length === 0) round = shuffled(victims, below)
    steps.push({ ...timing(), action: 'kill', victim: round.pop()!, replica: below(replicas) })
    if (kill % freezeEvery === freezeEvery / 2)
      steps.push({ ...timing(), action: 'freeze', replica: below(replicas), forMs: 4_500 + below(3_000) })
    if (kill === Math.floor(kills / 2)) steps.push({ ...timing(), action: 'kafka away', forMs: kafkaAwayMs })
  }
  return steps
}

function shuffled<T>(items: readonly T[], below: (n: number) => number): T[] {
  const rest = [...items]
  return items.map(() => rest.splice(below(rest.length), 1)[0]!)
}

/** How many steps a plan has. */
export const countSteps = (seed: number, kills: number): number => createPlan(seed, kills, 0).length

/** A step in a few words. */
export function describeStep(step: Step): string {
  switch (step.action) {
    case 'kill':
      return `kill ${step.victim}${step.victim === 'kafka' || step.victim === 'database' ? '' : ` ${step.replica + 1}`}`
    case 'freeze':
      return `freeze component ${step.replica + 1} for ${(step.forMs / 1_000).toFixed(1)} s`
    case 'kafka away':
      return `Kafka away for ${step.forMs / 1_000} s`
  }
}
