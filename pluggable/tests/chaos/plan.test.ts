import { expect, test } from 'vitest'
import { createPlan, victims } from './plan.ts'

test('a plan depends on its seed alone', () => {
  expect(createPlan(7, 50, 1_000)).toEqual(createPlan(7, 50, 1_000))
  expect(createPlan(8, 50, 1_000)).not.toEqual(createPlan(7, 50, 1_000))
})

test('even a short plan kills each victim, freezes a component and has one Kafka outage', () => {
  const plan = createPlan(1, 15, 1_000)
  const kills = plan.filter((step) => step.action === 'kill')
  expect(kills).toHaveLength(15)
  expect(victims.map((victim) => kills.filter((step) => step.victim === victim).length)).toEqual([3, 3, 3, 3, 3])
  expect(plan.filter(({ action }) => action === 'kafka outage')).toHaveLength(1)
  expect(plan.some(({ action }) => action === 'freeze')).toBe(true)
})
