import { random } from '../../../platform/random.ts'

/** What is killed. Each of the two replicas has its own of the first three. */
export const victims = ['component', 'sidecar', 'service', 'kafka', 'database'] as const

export type Victim = (typeof victims)[number]

/**
 * A step starts `afterMs` after the previous one. Unless it is `eager`, it also waits until each
 * replica has committed a transaction again.
 */
export type Step = { afterMs: number; eager: boolean } & (
  | { action: 'kill'; victim: Victim; replica: number }
  /** SIGSTOP for longer than the lease, then SIGCONT. */
  | { action: 'freeze'; replica: number; forMs: number }
  /** Stopped, and started again after this long. */
  | { action: 'kafka outage'; forMs: number }
)

export const replicas = 2

const freezeEvery = 12

/**
 * Plans a run: the same for the same seed and counts. Each round kills every victim once in random
 * order, so even a short run covers all of them. In the middle Kafka is unavailable for a while.
 */
export function createPlan(seed: number, kills: number, outageMs: number): Step[] {
  const next = random(seed)
  const below = (n: number) => Math.floor(next() * n)
  // Short waits find most, so half of them are under a second.
  const timing = () => ({ afterMs: 100 + Math.round(3_000 * next() ** 2), eager: next() < 0.3 })
  const steps: Step[] = []
  let round: Victim[] = []
  for (let kill = 0; kill < kills; kill += 1) {
    if (round.length === 0) round = shuffled(victims, below)
    steps.push({ ...timing(), action: 'kill', victim: round.pop()!, replica: below(replicas) })
    if (kill % freezeEvery === freezeEvery / 2)
      steps.push({ ...timing(), action: 'freeze', replica: below(replicas), forMs: 4_500 + below(3_000) })
    if (kill === Math.floor(kills / 2)) steps.push({ ...timing(), action: 'kafka outage', forMs: outageMs })
  }
  return steps
}

function shuffled<T>(items: readonly T[], below: (n: number) => number): T[] {
  const rest = [...items]
  return items.map(() => rest.splice(below(rest.length), 1)[0]!)
}

/** Returns the number of steps of a plan. */
export const countSteps = (seed: number, kills: number): number => createPlan(seed, kills, 0).length

/** Describes a step in a few words. */
export function describeStep(step: Step): string {
  switch (step.action) {
    case 'kill':
      return `kill ${step.victim}${step.victim === 'kafka' || step.victim === 'database' ? '' : ` ${step.replica + 1}`}`
    case 'freeze':
      return `freeze component ${step.replica + 1} for ${(step.forMs / 1_000).toFixed(1)} s`
    case 'kafka outage':
      return `Kafka unavailable for ${step.forMs / 1_000} s`
  }
}
