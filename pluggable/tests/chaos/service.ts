// The service under load: it writes state with events through its sidecar, as any service does, and
// notes what it was told. Started with one argument, its settings as JSON; for each transaction
// that was acknowledged it prints a character.
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { createDapr, type Operation } from '#lib/dapr.ts'
import { AppError } from '#lib/errors.ts'
import { judge, openHistory } from './history.ts'

export const serviceSettings = z.object({
  grpcPort: z.number(),
  httpPort: z.number(),
  apiToken: z.string(),
  store: z.string(),
  /** Where its history goes, into a new file at each start. */
  folder: z.string(),
  writers: z.number(),
  keys: z.number(),
})

export type ServiceSettings = z.output<typeof serviceSettings>

/** The state of a key: who wrote it. */
const written = z.object({ by: z.string() })

const eventType = 'chaos.changed.v1'

async function serve(settings: ServiceSettings): Promise<void> {
  const incarnation = randomBytes(4).toString('hex')
  const history = openHistory(join(settings.folder, `${incarnation}.jsonl`))
  const dapr = createDapr(settings)
  const store = dapr.state(settings.store)
  let stopping = false
  process.once('SIGTERM', () => (stopping = true))

  const pick = (n: number) => Math.floor(Math.random() * n)
  const someKeys = (count: number) => [...new Set(Array.from({ length: count }, () => `k-${pick(settings.keys)}`))]

  /** One transaction over these keys; `etags` names those whose state must be the given one. */
  async function write(
    id: string,
    keys: string[],
    etags: Map<string, { etag: string; by?: string }>,
  ): Promise<boolean> {
    const events = keys.map((key) => {
      const over = etags.get(key)?.by
      return { id: `${id}:${key}`, key, ...(over === undefined ? {} : { over }) }
    })
    const operations = keys.flatMap((key): Operation[] => {
      const etag = etags.get(key)?.etag
      return [
        { upsert: `state:${key}`, value: { by: id }, ...(etag === undefined ? {} : { etag }) },
        { event: { type: eventType, key, id: `${id}:${key}`, data: { by: id, padding: 'x'.repeat(pick(1_500)) } } },
      ]
    })
    history.begin(id, events)
    try {
      await store.transact([...operations, { upsert: `done:${id}`, value: {} }])
    } catch (error) {
      const { outcome, because } = judge(error)
      history.end(id, outcome, because)
      return because === 'ETAG_MISMATCH'
    }
    history.end(id, 'acked')
    process.stdout.write('.')
    return true
  }

  async function writer(name: string): Promise<void> {
    for (let n = 1; !stopping; n += 1) {
      const id = `${incarnation}-${name}-${n}`
      const chance = Math.random()
      const etags = new Map<string, { etag: string; by?: string }>()
      const keys = someKeys(chance < 0.7 ? 1 : 3)
      let answered = true
      if (chance < 0.1) {
        // Refused on purpose, after all else of it has been done.
        etags.set(keys[0]!, { etag: 'never' })
      } else if (chance < 0.35) {
        const found = await store.get(`state:${keys[0]}`, written).catch((error: unknown) => {
          if (!(error instanceof AppError)) throw error
          answered = false
        })
        if (found) etags.set(keys[0]!, { etag: found.etag, by: found.value.by })
      }
      answered = answered && (await write(id, keys, etags))
      // A rhythm that leaves a machine of two cores room for what starts again; slower while
      // nothing works.
      await sleep(answered ? 5 + pick(15) : 100)
    }
  }

  await Promise.all(Array.from({ length: settings.writers }, (_, n) => writer(String(n))))
  dapr.close()
}

await serve(serviceSettings.parse(JSON.parse(process.argv[2] ?? '{}')))
