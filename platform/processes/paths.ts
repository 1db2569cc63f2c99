// Where one shop keeps its things. A clone may hold several: the default one, one per PORT_BASE,
// and those of the tests.
import { createHash } from 'node:crypto'
import { realpathSync } from 'node:fs'
import { join } from 'node:path'
import { cacheFolder } from '../parts/cache.ts'

export const root = realpathSync(join(import.meta.dirname, '..', '..'))

export type Paths = {
  root: string
  node: string
  compileCache: string
  /** Everything of this shop. */
  state: string
  /** Made once, 0600. */
  secrets: string
  /** Which ports it has; what runs; what ran. */
  instance: string
  pids: string
  /** Who started it, unless it was left running on purpose. */
  owner: string
  lock: string
  data: string
  logs: string
  /** Generated for the supervisor and the sidecars at each start. */
  generated: string
  compose: string
  supervisorLog: string
  supervisorErrors: string
  /** Unix sockets: the supervisor's API, and a folder per sidecar for its components. */
  sockets: string
  supervisorSocket: string
  sentry: string
}

/**
 * The longest socket path that Linux (108 bytes) and macOS (104 bytes) take, with the final zero.
 */
const longestSocketPath = 103
/**
 * The longest of the names below a sockets folder: `inventory/bindings-mongodb.sock` and a little
 * to spare.
 */
const longestSocketName = 40

/**
 * The paths of one shop.
 * @param instance its name: `default`, a PORT_BASE, or the name of a test's shop
 * @throws Error when no folder is short enough for unix sockets
 */
export function createPaths(instance: string, clone: string = root, cache: string = cacheFolder()): Paths {
  if (!/^[a-z0-9-]{1,20}$/.test(instance))
    throw new Error(`an instance is named by lower-case letters, digits and "-", not "${instance}"`)
  const state = join(clone, '.sidecart', instance)
  const generated = join(state, 'generated')
  const sockets = socketsFolder(join(state, 'sockets'), cache)
  return {
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
    compose: join(generated, 'process-compose.yaml'),
    supervisorLog: join(state, 'logs', 'supervisor.log'),
    supervisorErrors: join(state, 'logs', 'supervisor-errors.log'),
    sockets,
    supervisorSocket: join(sockets, 'supervisor.sock'),
    sentry: join(state, 'sentry'),
  }
}

/**
 * A clone that lies deep gets its sockets in the cache folder, under a short name made of its path.
 */
function socketsFolder(wanted: string, cache: string): string {
  const short = join(cache, 'run', createHash('sha256').update(wanted).digest('hex').slice(0, 8))
  for (const folder of [wanted, short]) {
    if (Buffer.byteLength(folder) + 1 + longestSocketName <= longestSocketPath) return folder
  }
  throw new Error(
    `Unix sockets need short paths (at most ${longestSocketPath} bytes), but both ${wanted} and ${short} are too long. ` +
      'Move the clone, or set XDG_CACHE_HOME to a folder with a shorter path.',
  )
}
