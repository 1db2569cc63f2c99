import * as z from 'zod'
import { readData, replayExtension, serveSubscriptions, type Delivery } from '#lib/consumer.ts'
import type { Implementation } from '#lib/grpc-server.ts'
import type { Logger } from '#lib/logger.ts'
import { TopicEventResponse_TopicEventResponseStatus as statuses } from '#protos/dapr/proto/runtime/v1/appcallback.ts'
import type { IndexWriter } from './index-writer.ts'
import { changeOf, productEvent, type Change } from './product-document.ts'

const toChange = productEvent.transform(changeOf)
const toDeletion = z
  .object({ productId: z.string().min(1).max(100), version: z.int().min(1) })
  .transform(({ productId, version }): Change => ({ id: productId, version, document: undefined }))

const changes: Record<string, z.ZodType<Change[]>> = {
  'products.product-upserted.v1': toChange.transform((change) => [change]),
  'products.products-changed.v1': z.object({ products: z.array(toChange) }).transform(({ products }) => products),
  'products.product-deleted.v1': toDeletion.transform((change) => [change]),
}

/**
 * Serves the subscriptions of search. Each event says all about its products, and the index keeps
 * the highest version: so repeats, late events, and two topics without a common order are harmless,
 * and nothing is remembered about events.
 *
 * - Acknowledged: what is written, what is older than the index, and other types.
 * - Retried: everything while the index is not available.
 * - Moved to the dead-letter topic: what is no event of its type, or what the index refuses. Later
 *   events of the product go on: they do not build on it.
 */
export function consumeProducts({ writer, log }: { writer: IndexWriter; log: Logger }): Implementation {
  return serveSubscriptions(async (delivery: Delivery) => {
    const { id, type, topic, extensions = {} } = delivery
    const replayFor = String(extensions[replayExtension] ?? '')
    const schema = changes[type]
    if (!schema || (replayFor !== '' && replayFor !== 'search')) return statuses.SUCCESS
    const read = readData(schema, delivery, log)
    if (!read) return statuses.DROP
    try {
      const written = new Set(await Promise.all(read.data.map(writer.write)))
      if (written.has('failed')) return statuses.RETRY
      return written.has('refused') ? statuses.DROP : statuses.SUCCESS
    } catch (err) {
      log.warn({ topic, eventId: id, eventType: type, err }, 'event will be retried')
      return statuses.RETRY
    }
  })
}
