import { setTimeout as delay } from 'node:timers/promises'
import { MongoServerError } from 'mongodb'
import type { Logger } from '#lib/logger.ts'
import { ComponentError } from '../host/errors.ts'
import { explain, openMongo } from '../host/mongodb.ts'
import type { MongodbBindingSettings } from './metadata.ts'

/** Init takes no longer than this for its indexes: daprd ends a sidecar whose Init takes long. */
const waitMs = 3_000
const retryMs = 5_000
const buildMs = 24 * 60 * 60 * 1_000

const indexDiffers = new Set([85, 86])

/**
 * Creates the indexes that are missing. On a large collection that takes minutes, which it does in
 * the background: a new index keeps nobody from starting, but queries that need it are slow until
 * it is there. Returns a function that stops waiting for it. Throws INVALID_SETTING if an index of
 * that name is another one.
 */
export async function ensureIndexes(
  { connectionString, databaseName, collectionName, indexes }: MongodbBindingSettings,
  log: Logger,
): Promise<() => Promise<void>> {
  if (indexes.length === 0) return async () => {}
  // A client of its own: a connection that times out would end the building.
  const client = openMongo(connectionString, 1, buildMs)
  const ended = new AbortController()
  const stop = async () => {
    ended.abort()
    await client.close().catch(() => {})
  }
  const create = () =>
    client
      .db(databaseName)
      .collection(collectionName)
      .createIndexes(
        indexes.map(({ key, name, unique, sparse }) => ({
          key,
          ...(name ? { name } : {}),
          ...(unique ? { unique } : {}),
          ...(sparse ? { sparse } : {}),
        })),
      )

  async function untilThere(): Promise<void> {
    for (;;) {
      try {
        await create()
        return
      } catch (error) {
        if (ended.signal.aborted) return
        if (isOther(error)) throw error
        log.warn({ err: error }, 'creating indexes will be retried')
        await delay(retryMs, undefined, { signal: ended.signal }).catch(() => {})
        if (ended.signal.aborted) return
      }
    }
  }

  const done = untilThere()
  try {
    const isThere = await Promise.race([done.then(() => true), delay(waitMs, false)])
    if (isThere) {
      await stop()
      return async () => {}
    }
  } catch (error) {
    await stop()
    throw new ComponentError('INVALID_SETTING', `metadata field "indexes": ${(error as Error).message}`, {
      cause: explain(error),
    })
  }
  log.info('indexes are being created in the background')
  void done.then(
    () => {
      if (!ended.signal.aborted) log.info('indexes are created')
      return stop()
    },
    (err: unknown) => {
      log.error({ err }, 'metadata field "indexes": an index of that name is another one')
      return stop()
    },
  )
  return stop
}

/** Whether the server refuses the definition, so that repeating it cannot help. */
const isOther = (error: unknown) =>
  error instanceof MongoServerError && typeof error.code === 'number' && indexDiffers.has(error.code)
