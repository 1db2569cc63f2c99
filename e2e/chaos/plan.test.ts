import { expect, it } from 'vitest'
import { createPlan, type Step } from './plan.ts'

const victims = {
  service: ['orders', 'orders-2', 'payments'],
  sidecar: ['orders-dapr', 'payments-dapr'],
  component: ['orders-outbox-mysql'],
  server: ['kafka', 'mysql', 'mongodb', 'sentry', 'payment-sandbox'],
}
const plan = (seed: number, steps: number): Step[] => createPlan(seed, victims).take(steps).toArray()

it('is the same for the same seed, and another for another', () => {
  expect(plan(1, 40)).toEqual(plan(1, 40))
  expect(plan(2, 40)).not.toEqual(plan(1, 40))
})

it('hits every kind in each round, and freezes what has leases, for longer than those last', () => {
  const steps = plan(7, 200)
  const kinds = steps
    .filter(({ action }) => action === 'kill')
    .map(({ victim }) => Object.entries(victims).find(([, names]) => names.includes(victim))![0])
  for (let from = 0; from + 4 <= kinds.length; from += 4) expect(new Set(kinds.slice(from, from + 4)).size).toBe(4)
  const freezes = steps.filter((step) => step.action === 'freeze')
  expect(freezes).toHaveLength(40)
  expect(new Set(freezes.map(({ forMs }) => forMs))).toEqual(new Set([8_000, 35_000]))
  expect(freezes.filter(({ victim }) => victims.server.includes(victim))).toEqual([])
  expect(new Set(steps.map(({ victim }) => victim)).size).toBe(11)
})
