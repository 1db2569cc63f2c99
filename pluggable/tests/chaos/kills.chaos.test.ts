import { randomInt } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createProgress } from '../../../platform/progress.ts'
import { ensureParts } from '../../../platform/parts/ensure.ts'
import { startServers, type Shop } from '../../../platform/start/shop.ts'
import { runChaos } from './run.ts'

// Its own servers, since it kills them. `npm run chaos -- outbox --seed … --only …` repeats a
// failed run.
let servers: Shop
let daprd = ''
beforeAll(async () => {
  const progress = createProgress()
  const found = await ensureParts(['daprd'], progress)
  if (found.daprd.from === 'address') throw new Error('daprd must be a program, not an address')
  daprd = found.daprd.path
  servers = await startServers(['mongodb', 'mysql', 'kafka'], {
    instance: 'chaos-test',
    portBase: 'free',
    fresh: true,
    progress,
  })
  progress.close()
}, 600_000)
afterAll(() => servers?.stop(), 120_000)

test.each(['mysql', 'mongodb'] as const)(
  '15 kills around the outbox on %s lose and reorder no event',
  async (database) => {
    const seed = randomInt(1, 1_000_000)
    const steps: string[] = [`seed ${seed}`]
    try {
      const result = await runChaos({
        database,
        seed,
        kills: 15,
        kafkaAwayMs: 4_000,
        servers,
        daprd,
        onStep: (step) => steps.push(step),
      })
      expect({ seed, violations: result.violations }).toEqual({ seed, violations: [] })
      // A run in which hardly any transaction succeeded would prove nothing.
      expect(result.transactions.acked).toBeGreaterThan(300)
      expect(result.transactions.refused).toBeGreaterThan(30)
    } catch (error) {
      throw new Error(`${(error as Error).message}\n${steps.join(', ')}; logs in ${servers.paths.logs}`, {
        cause: error,
      })
    }
  },
  600_000,
)
