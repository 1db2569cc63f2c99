// Brings images into a node's containerd. They stay there between starts, so only what changed is
// imported. Each is there by its name and by the name with its id as the tag: pods of the latter
// are replaced when the image changes, and only then.
import { execFile } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { poll } from '../poll.ts'
import { ctrCommand } from './node-programs.ts'
import type { NodeRecord } from './node.ts'
import { containerdFromHost, type ClusterPaths } from './paths.ts'
import type { ImageArchive } from './images/archive.ts'
import { programPath } from './requirements.ts'
import type { Resource } from './resources.ts'

const execute = promisify(execFile)
const atOnce = 3

/** Image ids by full name, as they were imported last. */
type Imported = Record<string, string>

const recordFile = (paths: ClusterPaths) => join(paths.images, 'imported.json')

export function importedImages(paths: ClusterPaths): Imported {
  const file = recordFile(paths)
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Imported) : {}
}

/**
 * Imports the images that the node does not have, or has in another version.
 * @param note told how far it is
 */
export async function importImages(
  paths: ClusterPaths,
  node: NodeRecord,
  images: readonly ImageArchive[],
  note: (text: string) => void = () => {},
): Promise<void> {
  const [program = '', ...flags] = ctrCommand(programPath('ctr'), containerdFromHost(node.init))
  const ctr = async (...args: string[]) => (await execute(program, [...flags, 'images', ...args])).stdout
  const plugins = async () => (await execute(program, [...flags, 'plugins', 'list'])).stdout
  // A first containerd only cleans up (init.ts); the second one has the part for Kubernetes.
  const hasStarted = async () => /io\.containerd\.grpc\.v1\s+cri\s.*\sok/.test(await plugins())
  await poll('containerd', hasStarted, { timeoutMs: 30_000, intervalMs: 50 })
  const present = new Set((await ctr('list', '--quiet')).split('\n'))
  const imported = importedImages(paths)

  const one = async (image: ImageArchive): Promise<void> => {
    const name = fullName(image.name)
    const byId = withTag(name, image.id)
    if (imported[name] === image.id && present.has(name) && present.has(byId)) return
    await ctr('import', image.archive)
    await ctr('tag', '--force', name, byId)
    const old = imported[name]
    if (old !== undefined && old !== image.id) await ctr('remove', withTag(name, old))
    imported[name] = image.id
    writeFileSync(recordFile(paths), JSON.stringify(imported, undefined, 2))
    note(name)
  }
  // An archive leaves out the layers of its base.
  for (const round of inRounds(images)) {
    const queue = [...round]
    const worker = async () => {
      for (let image = queue.shift(); image !== undefined; image = queue.shift()) await one(image)
    }
    await Promise.all(Array.from({ length: atOnce }, worker))
  }
}

/** Returns images with their bases, each once and after its base. */
export function inRounds(images: readonly ImageArchive[]): ImageArchive[][] {
  const rounds: Map<string, ImageArchive>[] = []
  const place = (image: ImageArchive): number => {
    const round = image.base ? place(image.base) + 1 : 0
    const found = (rounds[round] ??= new Map<string, ImageArchive>())
    found.set(image.archive, image)
    return round
  }
  for (const image of images) place(image)
  return rounds.map((round) => [...round.values()])
}

/** Returns an image's name as containerd has it: with a registry and a tag. */
export function fullName(name: string): string {
  const [first = '', ...rest] = name.split('/')
  const hasRegistry = rest.length > 0 && (/[.:]/.test(first) || first === 'localhost')
  const named = hasRegistry ? name : rest.length > 0 ? `docker.io/${name}` : `docker.io/library/${name}`
  return /:[^/]+$/.test(named) ? named : `${named}:latest`
}

const withTag = (name: string, tag: string) => name.replace(/:[^/:]+$/, `:${tag}`)

/**
 * Returns resources whose pods name the imported images by their ids: a pod is replaced when an
 * image of it has changed. Other images keep their names.
 */
export function withImageIds(resources: readonly Resource[], imported: Imported): Resource[] {
  const replaced = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(replaced)
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(
      Object.entries(value).map(([key, each]) => {
        if (key !== 'image' || typeof each !== 'string') return [key, replaced(each)]
        const id = imported[fullName(each)]
        return [key, id === undefined ? each : withTag(fullName(each), id)]
      }),
    )
  }
  return resources.map((resource) => replaced(resource) as Resource)
}
