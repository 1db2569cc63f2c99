// Makes sure that servers are there: those that are found nowhere are built, two at a time and the
// slowest first (compilers use all cores for most of their time, but a second build fills the gaps
// while the first one links or loads).
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { cacheFolder, makeOnce } from './cache.ts'
import type { Progress } from '../progress.ts'
import { findPart, type Found } from './find.ts'
import { parts, type Part, type PartName } from './parts.ts'

export type Servers = Record<PartName, Exclude<Found, { from: 'nowhere' }>>

const buildsAtOnce = 2

/**
 * Finds or builds the named parts.
 * @returns where each one is
 * @throws Error with one line per part that could be neither found nor built
 */
export async function ensureParts<Name extends PartName>(
  names: readonly Name[],
  progress: Progress,
): Promise<Pick<Servers, Name>> {
  const missing = names
    .filter((name) => findPart(name).from === 'nowhere')
    .toSorted((a, b) => parts[b].usualSeconds - parts[a].usualSeconds)
  const queue = [...missing]
  const failures: string[] = []
  const worker = async () => {
    for (let name = queue.shift(); name !== undefined; name = queue.shift()) {
      try {
        await buildOnce(parts[name], progress)
      } catch (error) {
        failures.push(`${parts[name].title}: ${(error as Error).message}. To get it: ${parts[name].howToGet}.`)
      }
    }
  }
  await Promise.all(Array.from({ length: buildsAtOnce }, worker))
  if (failures.length > 0) throw new Error(failures.join('\n'))
  const found = names.map((name) => [name, findPart(name)] as const)
  return Object.fromEntries(found) as Pick<Servers, Name>
}

/**
 * Builds something into its folder of the cache, unless it is there.
 * @throws Error when the recipe fails; it names the log
 */
export async function buildOnce(
  part: Pick<Part, 'title' | 'cacheKey' | 'recipe' | 'usualSeconds'>,
  progress: Progress,
): Promise<void> {
  const { title, cacheKey, recipe, usualSeconds } = part
  const log = join(cacheFolder(), 'logs', `${cacheKey}.log`)
  mkdirSync(dirname(log), { recursive: true })
  await progress.step({ title: `${title} (${cacheKey})`, usualSeconds, log }, (note) =>
    makeOnce(
      join(cacheFolder(), cacheKey),
      async (folder) => {
        writeFileSync(log, '')
        await recipe(folder, log)
      },
      (holder) => note(`process ${holder} builds it already, waiting`),
    ),
  )
}
