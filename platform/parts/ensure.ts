// Finds servers and builds the missing ones, two at a time and the slowest first. Compilers use all
// cores most of the time, but a second build fills the gaps while the first one links or downloads.
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { cacheFolder, makeOnce } from './cache.ts'
import type { Progress } from '../progress.ts'
import { cachedPart, findPart, lackingTools, type Found } from './find.ts'
import { ensureKafkaArchive } from './kafka-archive.ts'
import { parts, type OptionalPartName, type Part, type PartName } from './parts.ts'

export type Servers = Record<PartName, Exclude<Found, { from: 'nowhere' }>>

const buildsAtOnce = 2

/**
 * Finds or builds the named parts.
 * @returns where each one is
 * @throws Error with one line for each part that could be neither found nor built
 */
export async function ensureParts<Name extends PartName>(
  names: readonly Name[],
  progress: Progress,
): Promise<Pick<Servers, Name>> {
  const missing = names.filter((name) => findPart(name).from === 'nowhere').map((name) => parts[name])
  await buildAll(missing, progress, async (part) => {
    // Here, and not when Kafka starts: slower parts are still being built.
    if (part === parts.kafka) await ensureKafkaArchive(cachedPart('kafka').path, progress)
  })
  const found = names.map((name) => [name, findPart(name)] as const)
  return Object.fromEntries(found) as Pick<Servers, Name>
}

export type Buildable = Pick<Part, 'title' | 'cacheKey' | 'recipe' | 'usualSeconds' | 'howToGet'>

/**
 * Builds parts that are not in the cache, two at a time and the slowest first.
 * @param then called after each one
 * @throws Error with one line for each part that could not be built
 */
export async function buildAll<P extends Buildable>(
  wanted: readonly P[],
  progress: Progress,
  then: (part: P) => Promise<void> = async () => {},
): Promise<void> {
  const queue = wanted.toSorted((a, b) => b.usualSeconds - a.usualSeconds)
  const failures: string[] = []
  const worker = async () => {
    for (let part = queue.shift(); part !== undefined; part = queue.shift()) {
      try {
        await buildOnce(part, progress)
        await then(part)
      } catch (error) {
        failures.push(`${part.title}: ${(error as Error).message}. To get it: ${part.howToGet}.`)
      }
    }
  }
  await Promise.all(Array.from({ length: buildsAtOnce }, worker))
  if (failures.length > 0) throw new Error(failures.join('\n'))
}

/**
 * Finds or makes a part that the shop can do without.
 * @returns undefined where it cannot be had; why is printed, unless its tools are missing
 * @throws Error when its variable names no program
 */
export async function ensureOptionalPart<Name extends OptionalPartName>(
  name: Name,
  progress: Progress,
): Promise<Servers[Name] | undefined> {
  if (findPart(name).from === 'nowhere' && lackingTools(name).length > 0) return undefined
  try {
    return (await ensureParts([name], progress))[name]
  } catch (error) {
    console.error(`${(error as Error).message} Without it ${parts[name].without}.`)
    return undefined
  }
}

/** Returns where a part's build is logged. */
export function buildLog(name: PartName): string {
  return logOf(parts[name].cacheKey)
}

const logOf = (cacheKey: string) => join(cacheFolder(), 'logs', `${cacheKey}.log`)

/**
 * Builds a part into its folder in the cache, unless that exists.
 * @throws Error that names the log when the recipe fails
 */
export async function buildOnce(
  part: Pick<Part, 'title' | 'cacheKey' | 'recipe' | 'usualSeconds'>,
  progress: Progress,
): Promise<void> {
  const { title, cacheKey, recipe, usualSeconds } = part
  const log = logOf(cacheKey)
  mkdirSync(dirname(log), { recursive: true })
  await progress.step({ title: `${title} (${cacheKey})`, usualSeconds, log }, (note) =>
    makeOnce(
      join(cacheFolder(), cacheKey),
      async (folder) => {
        writeFileSync(log, '')
        await recipe(folder, log)
      },
      (holder) => note(`process ${holder} is already building it, waiting`),
    ),
  )
}
