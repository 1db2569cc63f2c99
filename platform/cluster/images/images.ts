// The one entry point to images for a cluster that reaches no registry.
import type { Progress } from '../../progress.ts'
import type { ImageArchive } from './archive.ts'
import { ensureProjectImages, projectImageNames } from './project.ts'
import { ensureServerImages, serverImageNames, type ServerImageName } from './servers.ts'

/** Returns the names that ensureImages takes: the project's images, then those of the servers. */
export function imageNames(): string[] {
  return [...projectImageNames(), ...serverImageNames]
}

/**
 * Makes the named images that are not in the cache for the files as they are now.
 * @returns one archive for each, to be imported after that of its `base`, and that one's
 * @throws Error that says what is missing on this machine, or names the log of what failed
 */
export async function ensureImages(names: readonly string[], progress: Progress): Promise<ImageArchive[]> {
  const unknown = names.filter((name) => !imageNames().includes(name))
  if (unknown.length > 0) throw new Error(`no image ${unknown.join(', ')}; there are ${imageNames().join(', ')}`)
  const isServer = (name: string): name is ServerImageName => (serverImageNames as readonly string[]).includes(name)
  return [
    ...(await ensureProjectImages(
      names.filter((name) => !isServer(name)),
      progress,
    )),
    ...(await ensureServerImages(names.filter(isServer), progress)),
  ]
}
