// The service of a chaos run: it writes state with events through its sidecar and records the
// outcomes. Its one argument is its settings as JSON. It prints a character per acknowledged
// transaction.
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
  /** The folder for its histories, a new file per start. */
  folder: z.string(),
  writers: z.number(),
  keys: z.number(),
})

export type ServiceSettings = z.output<typeof serviceSettings>

/** A key's state: the transaction that wrote it. */
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

  /**
   * Commits one transaction over these keys; those in `etags` must still have that state. Returns
   * false when it failed for any reason other than a changed etag.
   */
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
      let available = true
      if (chance < 0.1) {
        // Refused on purpose, after everything else in the transaction was done.
        etags.set(keys[0]!, { etag: 'never' })
      } else if (chance < 0.35) {
        const found = await store.get(`state:${keys[0]}`, written).catch((error: unknown) => {
          if (!(error instanceof AppError)) throw error
          available = false
        })
        if (found) etags.set(keys[0]!, { etag: found.etag, by: found.value.by })
      }
      available = available && (await write(id, keys, etags))
      // This rate leaves two cores room for what is restarting; slower while the store is
      // unavailable.
      await sleep(available ? 5 + pick(15) : 100)
    }
  }

  await Promise.all(Array.from({ length: settings.writers }, (_, n) => writer(String(n))))
  dapr.close()
}

await serve(serviceSettings.parse(JSON.parse(process.argv[2] ?? '{}')))
