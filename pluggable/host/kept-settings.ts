import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { z } from 'zod'

const schema = z.object({ instances: z.record(z.string(), z.record(z.string(), z.string())) })

export type KeptSettings = {
  /** Returns the metadata that each Component was last initialised with, by name. */
  load(): Record<string, Record<string, string>>
  /** Replaces what is kept for all Components. */
  save(properties: Record<string, Record<string, string>>): void
}

/**
 * Keeps the Init metadata in a file next to the socket. daprd reconnects to a component that was
 * restarted but never repeats Init: without the file, events committed before a crash would wait
 * until the sidecar restarts too. The file holds credentials, hence mode 0600. A broken or missing
 * file counts as empty.
 */
export function createKeptSettings(path: string): KeptSettings {
  return {
    load() {
      try {
        return schema.parse(JSON.parse(readFileSync(path, 'utf8'))).instances
      } catch {
        return {}
      }
    },
    save(properties) {
      // Written in full and then renamed, so that a crash in between leaves the old file.
      writeFileSync(`${path}.new`, JSON.stringify({ instances: properties }), { mode: 0o600 })
      renameSync(`${path}.new`, path)
    },
  }
}
