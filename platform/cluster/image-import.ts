// Brings images into a node's containerd. They stay there between starts, so only what changed is
// imported.
import { execFile } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { poll } from '../poll.ts'
import { ctrCommand } from './node-programs.ts'
import type { NodeRecord } from './node.ts'
import { containerdFromHost, type ClusterPaths } from './paths.ts'
import type { ImageArchive } from './program-images.ts'

const execute = promisify(execFile)
const atOnce = 3

/**
 * Imports the images that the node does not have, or has in another version.
 * @param onDone called with the name of each one that was imported
 * @returns how many those were
 */
export async function importImages(
  paths: ClusterPaths,
  node: NodeRecord,
  images: readonly ImageArchive[],
  onDone: (name: string) => void = () => {},
): Promise<number> {
  const [program = '', ...flags] = ctrCommand('ctr', containerdFromHost(node.init))
  const ctr = async (...args: string[]) => (await execute(program, [...flags, ...args])).stdout
  // A second containerd follows the first one that only cleans up (init.ts): with Kubernetes' part.
  const present = await poll(
    'containerd',
    async () => {
      const plugins = await ctr('plugins', 'list')
      return (
        /io\.containerd\.grpc\.v1\s+cri\s.*\sok/.test(plugins) && (await ctr('images', 'list', '--quiet')).split('\n')
      )
    },
    { timeoutMs: 30_000, intervalMs: 50 },
  )
  const recordFile = join(paths.images, 'imported.json')
  const imported: Record<string, string> = existsSync(recordFile)
    ? (JSON.parse(readFileSync(recordFile, 'utf8')) as Record<string, string>)
    : {}
  const queue = images.filter(({ name, id }) => imported[name] !== id || !present.includes(fullName(name)))
  const count = queue.length
  const worker = async () => {
    for (let image = queue.shift(); image !== undefined; image = queue.shift()) {
      await ctr('images', 'import', image.archive)
      imported[image.name] = image.id
      writeFileSync(recordFile, JSON.stringify(imported, undefined, 2))
      onDone(image.name)
    }
  }
  await Promise.all(Array.from({ length: atOnce }, worker))
  return count
}

/** Returns an image's name as containerd has it: with a registry and a tag. */
export function fullName(name: string): string {
  const [first = '', ...rest] = name.split('/')
  const hasRegistry = rest.length > 0 && (/[.:]/.test(first) || first === 'localhost')
  const named = hasRegistry ? name : rest.length > 0 ? `docker.io/${name}` : `docker.io/library/${name}`
  return /:[^/]+$/.test(named) ? named : `${named}:latest`
}
