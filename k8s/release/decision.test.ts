import { describe, expect, it } from 'vitest'
import { decide, type Figures } from './decision.ts'

const figures = (requests: number, failed = 0, slow = 0): Figures => ({ requests, failed, slow })
const stable = figures(8_000)

describe('decide', () => {
  it('waits while the canary is good, and promotes it at the end', () => {
    expect(decide(figures(1_000), stable, false).action).toBe('wait')
    expect(decide(figures(2_000, 2, 20), stable, true).action).toBe('promote')
  })

  it('ends a canary at once that fails much', () => {
    expect(decide(figures(1_000, 15), stable, false)).toEqual({
      action: 'roll back',
      reason: "1.50% of the canary's requests failed; 1.44% may, and the old version has 0.00%",
    })
    expect(decide(figures(1_000, 14), stable, false).action).toBe('wait')
  })

  it('rolls back at the end what exceeds a budget', () => {
    expect(decide(figures(2_000, 3), stable, true).action).toBe('roll back')
    expect(decide(figures(2_000, 0, 21), stable, true).action).toBe('roll back')
  })

  it('does not blame the canary for what the old version suffers as well', () => {
    const both = figures(8_000, 400, 800)
    expect(decide(figures(2_000, 110, 210), both, true).action).toBe('promote')
    expect(decide(figures(2_000, 210, 210), both, true).action).toBe('roll back')
  })

  it('promotes nothing on too few requests, or without Prometheus', () => {
    expect(decide(figures(199), stable, false)).toEqual({ action: 'wait', reason: '199 of 200 requests seen' })
    expect(decide(figures(199), stable, true).action).toBe('roll back')
    expect(decide(undefined, undefined, false).action).toBe('wait')
    expect(decide(undefined, stable, true).action).toBe('roll back')
  })
})
