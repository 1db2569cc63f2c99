// Images in the cache: each is made once for its inputs, and is complete or absent like every part.
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { cacheFolder, makeOnce } from '../../parts/cache.ts'
import type { Progress } from '../../progress.ts'
import type { ImageArchive } from './archive.ts'

/** How many versions of one image stay in the cache: a clone or two, and one to go back to. */
const keptVersions = 4

export type Making = {
  /** With registry and tag. */
  name: string
  /** All that determines the content, the base's id excepted. */
  inputs: unknown
  usualSeconds: number
  base?: ImageArchive
  /** Fills an empty folder with the image (writeImage, writeArchive). */
  make: (folder: string, log: string) => Promise<void>
}

/**
 * Makes an image, unless one of the same inputs is in the cache.
 * @throws Error that names the log when it cannot be made
 */
export async function ensureImage(making: Making, progress: Progress): Promise<ImageArchive> {
  const { name, inputs, base, usualSeconds, make } = making
  const id = createHash('sha256')
    .update(JSON.stringify([name, base?.id, inputs]))
    .digest('hex')
    .slice(0, 12)
  const folder = join(cacheFolder(), 'images', `${shortName(name)}-${id}`)
  const image: ImageArchive = { name, archive: join(folder, 'image.tar'), id, ...(base ? { base } : {}) }
  if (existsSync(folder)) {
    const now = new Date()
    utimesSync(folder, now, now)
    return image
  }
  const log = join(cacheFolder(), 'logs', `image-${basename(folder)}.log`)
  mkdirSync(dirname(log), { recursive: true })
  await progress.step({ title: `Image ${name}`, usualSeconds, log }, (note) =>
    makeOnce(
      folder,
      async (empty) => {
        writeFileSync(log, '')
        await make(empty, log)
      },
      (holder) => note(`process ${holder} is already making it, waiting`),
    ),
  )
  removeOldVersions(folder)
  return image
}

/** "docker.io/sidecart/orders:test" is orders. */
const shortName = (name: string) => (name.split('/').at(-1) ?? name).replace(/:.*$/, '')

function removeOldVersions(newest: string): void {
  const name = basename(newest).replace(/-[0-9a-f]{12}$/, '')
  const versions = readdirSync(dirname(newest))
    .filter((each) => each.replace(/-[0-9a-f]{12}$/, '') === name)
    .map((each) => ({ folder: join(dirname(newest), each), used: statSync(join(dirname(newest), each)).mtimeMs }))
    .toSorted((a, b) => b.used - a.used)
  for (const { folder } of versions.slice(keptVersions)) rmSync(folder, { recursive: true, force: true })
}
