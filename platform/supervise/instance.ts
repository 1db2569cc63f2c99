// Which shops (instances) this clone has, and on which ports.
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { isFree } from '../free-ports.ts'
import type { Paths } from '../processes/paths.ts'
import { allPorts, blockSize, createPorts, portBase, type Ports } from '../processes/ports.ts'

/** Returns the instance that the environment selects: PORT_BASE's, or the default one. */
export function currentInstance(env: NodeJS.ProcessEnv = process.env): {
  instance: string
  portBase: number | undefined
} {
  const base = portBase(env)
  return { instance: base === undefined ? 'default' : String(base), portBase: base }
}

/** A shop that was started before there was an edge recorded none. */
type Recorded = { portBase: number | null; edge?: boolean }

/** Returns a shop's ports at its last start, or undefined if it never started. */
export function recordedPorts(paths: Paths): Ports | undefined {
  try {
    const { portBase, edge = false } = JSON.parse(readFileSync(paths.instance, 'utf8')) as Recorded
    return createPorts(portBase ?? undefined, { edge })
  } catch {
    return undefined
  }
}

export function recordPorts(paths: Paths, base: number | undefined, edge: boolean): void {
  mkdirSync(dirname(paths.instance), { recursive: true, mode: 0o700 })
  writeFileSync(paths.instance, JSON.stringify({ portBase: base ?? null, edge } satisfies Recorded))
}

/**
 * Where test shops are: above the default shop's block, and below the ports that Linux uses for
 * outgoing connections (ip_local_port_range), one of which may be taken at any moment.
 */
const testPorts = { from: 22_000, to: 32_768 }

/**
 * Returns the base of a free block of ports, for tests that run next to any shop and to the tests
 * of another clone. The first block to try depends on the clone and the instance, so it is mostly
 * the same each time.
 * @throws Error when all blocks are taken
 */
export async function freePortBase(paths: Paths): Promise<number> {
  const { from, to } = testPorts
  const blocks = Math.floor((to - from) / blockSize)
  const first = createHash('sha256').update(paths.state).digest().readUInt32BE() % blocks
  for (let i = 0; i < blocks; i += 1) {
    const base = from + blockSize * ((first + i) % blocks)
    if ((await takenPorts(createPorts(base))).length === 0) return base
  }
  throw new Error(`no free block of ports between ${from} and ${to}`)
}

/** Returns the ports of a table on which a process already listens. */
export async function takenPorts(ports: Ports): Promise<number[]> {
  const taken = await Promise.all(allPorts(ports).map(async (port) => ((await isFree(port)) ? [] : [port])))
  return taken.flat()
}
