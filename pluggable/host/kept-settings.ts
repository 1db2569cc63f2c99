import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { z } from 'zod'

const schema = z.object({ instances: z.record(z.string(), z.record(z.string(), z.string())) })

export type KeptSettings = {
  /** The metadata that each instance was last initialised with. */
  load(): Record<string, Record<string, string>>
  /** Replaces what is kept for all instances. */
  save(instances: Record<string, Record<string, string>>): void
}

/**
 * The Init metadata, kept beside the socket. daprd connects again to a component that was restarted
 * but never repeats Init: without these, events that were committed before a crash would wait until
 * the sidecar restarts too. The file holds credentials, hence mode 0600. A broken or missing file
 * counts as empty.
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
    save(instances) {
      // Written whole and moved into place, so that a crash in between leaves the old file.
      writeFileSync(`${path}.new`, JSON.stringify({ instances }), { mode: 0o600 })
      renameSync(`${path}.new`, path)
    },
  }
}
