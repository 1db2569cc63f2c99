import type { MongoClient } from 'mongodb'
import type { ComponentDefinition } from '../host/components.ts'
import { explain, openMongo } from '../host/mongodb.ts'
import type { StateStore } from '../host/state-store.ts'
import { eventDefaults, routedTopic, startConfiguredRelay } from '../outbox/configured-relay.ts'
import { groupLimits, ungrouped } from '../outbox/group-commit.ts'
import type { OutboxMetrics } from '../outbox/metrics.ts'
import { startSweeper } from '../outbox/sweeper.ts'
import { deleteExpired } from './expiry.ts'
import { parseMongodbSettings, type MongodbSettings } from './metadata.ts'
import { openSessions } from './open-sessions.ts'
import { createMongodbRelaySource } from './relay-source.ts'
import { collectionsOf, migrate, replaceFormerIndex } from './schema.ts'
import { createMongodbStore } from './store.ts'

/** Returns how far the server's clock is ahead of ours, to within half a round trip. */
async function clockOffsetMs(client: MongoClient): Promise<number> {
  const sent = Date.now()
  const hello = await client.db('admin').command({ hello: 1 })
  return (hello['localTime'] as Date).getTime() - (sent + Date.now()) / 2
}

/**
 * Defines `state.outbox-mongodb`: a state store and, if its metadata names brokers, the relay of
 * its outbox.
 */
export function defineMongodbComponent(metrics: OutboxMetrics): ComponentDefinition<MongodbSettings, StateStore> {
  return {
    parse: parseMongodbSettings,

    async open(settings, { component, log, tracing, keptPath }) {
      // One more for the relay's change stream, which occupies a connection.
      const client = openMongo(settings.connectionString, settings.maxConnections + 1)
      const db = client.db(settings.databaseName)
      const collections = collectionsOf(db, settings.collectionName)
      const sessions = openSessions(client, `${keptPath}.sessions`, log)
      let offsetMs: number
      const now = () => new Date(Date.now() + offsetMs)
      const source = createMongodbRelaySource(collections, now, log)
      let topic: string | undefined
      try {
        offsetMs = await clockOffsetMs(client)
        await sessions.endFormer()
        await migrate(db, collections)
        topic = await routedTopic(settings, source)
      } catch (error) {
        await client.close().catch(() => {})
        throw explain(error)
      }
      replaceFormerIndex(collections).catch((err: unknown) => log.warn({ err }, 'the former index stays'))
      const metered = metrics.forComponent(component, source.backlog)
      const relay = startConfiguredRelay(settings, source, { component, metrics: metered, tracing, log })
      const sweeper = startSweeper(async (limit) => {
        offsetMs = await clockOffsetMs(client)
        return deleteExpired(collections, now(), limit)
      }, log)
      const store = createMongodbStore({
        client,
        db,
        sessions,
        collections,
        now,
        events: eventDefaults(settings),
        groups: settings.groupCommit ? groupLimits : ungrouped(settings.maxConnections),
        onEvents: topic === undefined ? relay?.wake : () => {},
        routedTopic: topic,
        log,
      })
      return {
        ...store,
        attributes: {
          'db.system.name': 'mongodb',
          'db.namespace': settings.databaseName,
          'db.collection.name': settings.collectionName,
        },
        async close() {
          await relay?.close()
          await sweeper.close()
          metered.remove()
          await client.close()
          sessions.forget()
        },
      }
    },
  }
}
