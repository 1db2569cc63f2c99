import { setTimeout as delay } from 'node:timers/promises'
import { unavailable } from '#lib/errors.ts'
import type { IndexClient, Written } from './index-client.ts'
import type { Change } from './product-document.ts'

/** 1 MiB of documents take the index some 100 ms. */
const maxBytes = 1024 * 1024
const maxChanges = 500
const minChanges = 10
/** After a batch of several the next one begins no sooner: it grows meanwhile. */
const roundMs = 40

type Entry = { change: Change; resolve: (written: Written) => void; reject: (error: unknown) => void }

export type IndexWriter = ReturnType<typeof createIndexWriter>

/**
 * Creates the one writer of this replica: changes that arrive while a batch is being written make
 * the next one, of which each product's latest version is written, once.
 */
export function createIndexWriter({ index }: { index: IndexClient }) {
  const waiting: Entry[] = []
  let running = false
  let limit = maxChanges

  async function run(): Promise<void> {
    await new Promise(setImmediate)
    while (waiting.length > 0) {
      const began = performance.now()
      const batch = takeBatch(waiting, limit)
      try {
        await settle(batch)
        limit = Math.min(maxChanges, limit * 2)
      } catch (error) {
        // On a machine so slow that a batch takes longer than is waited for, a smaller one may get
        // through.
        limit = Math.max(minChanges, batch.length >> 1)
        for (const { reject } of batch) reject(error)
      }
      const left = roundMs - (performance.now() - began)
      if (batch.length > 1 && left > 0) await delay(left)
    }
    running = false
  }

  async function settle(batch: Entry[]): Promise<void> {
    const latest = new Map<string, Change>()
    for (const { change } of batch)
      if (change.version > (latest.get(change.id)?.version ?? 0)) latest.set(change.id, change)
    const changes = [...latest.values()]
    const targets = await index.writeTargets()
    if (targets.length === 0) throw unavailable('search_unavailable', 'there is no index yet')
    const results = await Promise.all(targets.map((target) => index.write(target, changes)))
    const written = new Map(changes.map(({ id }, n) => [id, worst(results.map((result) => result[n]!))]))
    // An index that is gone may have been replaced.
    if ([...written.values()].includes('failed')) index.forgetTargets()
    for (const { change, resolve } of batch) resolve(written.get(change.id)!)
  }

  return {
    /** Writes a change. Throws `unavailable` search_unavailable: it may or may not be written. */
    write(change: Change): Promise<Written> {
      return new Promise((resolve, reject) => {
        waiting.push({ change, resolve, reject })
        if (running) return
        running = true
        void run()
      })
    },
  }
}

const order: Written[] = ['written', 'stale', 'refused', 'failed']
const worst = (results: Written[]): Written => order[Math.max(...results.map((result) => order.indexOf(result)))]!

function takeBatch(waiting: Entry[], limit: number): Entry[] {
  const batch: Entry[] = []
  let bytes = 0
  while (waiting.length > 0 && batch.length < limit) {
    bytes += 2 * (waiting[0]!.change.document?.json.length ?? 0)
    if (batch.length > 0 && bytes > maxBytes) break
    batch.push(waiting.shift()!)
  }
  return batch
}
