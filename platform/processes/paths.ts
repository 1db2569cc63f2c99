// Where one shop keeps its files. A clone can hold several shops (instances): the default one, one
// per PORT_BASE, and those of the tests.
import { createHash } from 'node:crypto'
import { realpathSync } from 'node:fs'
import { join } from 'node:path'
import { cacheFolder } from '../parts/cache.ts'

export const root = realpathSync(join(import.meta.dirname, '..', '..'))

export type Paths = {
  /** The instance's name. */
  name: string
  root: string
  node: string
  compileCache: string
  /** Folder with everything of this shop. */
  state: string
  /** Created once, mode 0600. */
  secrets: string
  /** Its ports. */
  instance: string
  /** Process ids of what was started. */
  pids: string
  /** Who started it, unless it is meant to outlive its starter. */
  owner: string
  lock: string
  data: string
  logs: string
  /** Written at each start, for the servers, the supervisor and the sidecars. */
  generated: string
  supervisorConfig: string
  supervisorLog: string
  supervisorErrors: string
  /** Unix sockets: the supervisor's API, and a folder per sidecar for its components. */
  sockets: string
  supervisorSocket: string
  sentry: string
}

/**
 * The longest socket path that both Linux (108 bytes) and macOS (104) accept, without the final
 * zero.
 */
const longestSocketPath = 103
/** The longest name in a sockets folder, `inventory/bindings-mongodb.sock`, and some room. */
const longestSocketName = 40

/**
 * Returns the paths of one shop; creates nothing.
 * @param instance its name: `default`, a PORT_BASE, or the name of a test's shop
 * @throws Error when no folder is short enough for Unix sockets
 */
export function createPaths(instance: string, clone: string = root, cache: string = cacheFolder()): Paths {
  if (!/^[a-z0-9-]{1,20}$/.test(instance))
    throw new Error(`an instance's name must be 1 to 20 of a-z, 0-9 and "-", not "${instance}"`)
  const state = join(clone, '.sidecart', instance)
  const generated = join(state, 'generated')
  const sockets = socketsFolder(join(state, 'sockets'), cache)
  return {
    name: instance,
    root: clone,
    node: join(clone, 'node_modules', '.bin', 'node'),
    compileCache: join(clone, '.sidecart', 'compile-cache'),
    state,
    secrets: join(state, 'secrets.json'),
    instance: join(state, 'instance.json'),
    pids: join(state, 'pids.json'),
    owner: join(state, 'owner.json'),
    lock: join(state, 'lock'),
    data: join(state, 'data'),
    logs: join(state, 'logs'),
    generated,
    supervisorConfig: join(generated, 'process-compose.yaml'),
    supervisorLog: join(state, 'logs', 'supervisor.log'),
    supervisorErrors: join(state, 'logs', 'supervisor-errors.log'),
    sockets,
    supervisorSocket: join(sockets, 'supervisor.sock'),
    sentry: join(state, 'sentry'),
  }
}

/** For a clone with a long path: the cache folder, under a short name derived from that path. */
function socketsFolder(wanted: string, cache: string): string {
  const short = join(cache, 'run', createHash('sha256').update(wanted).digest('hex').slice(0, 8))
  for (const folder of [wanted, short]) {
    if (Buffer.byteLength(folder) + 1 + longestSocketName <= longestSocketPath) return folder
  }
  throw new Error(
    `Unix sockets need paths of at most ${longestSocketPath} bytes: ${wanted} and ${short} are too long. ` +
      'Move the clone, or set XDG_CACHE_HOME to a folder with a shorter path.',
  )
}
