import type { ComponentDefinition } from '../host/components.ts'
import type { StateStore } from '../host/state-store.ts'
import { eventDefaults, routedTopic, startConfiguredRelay } from '../outbox/configured-relay.ts'
import { groupLimits, ungrouped } from '../outbox/group-commit.ts'
import type { OutboxMetrics } from '../outbox/metrics.ts'
import { startSweeper } from '../outbox/sweeper.ts'
import { requireBinaryLog } from './binary-log.ts'
import { openDatabase } from './database.ts'
import { deleteExpired } from './expiry.ts'
import { parseMysqlSettings, type MysqlSettings } from './metadata.ts'
import { createMysqlRelaySource } from './relay-source.ts'
import { migrate, tablesOf } from './schema.ts'
import { createMysqlStore } from './store.ts'

/**
 * Defines `state.outbox-mysql`: a state store and, if its metadata names brokers, the relay of its
 * outbox.
 */
export function defineMysqlComponent(metrics: OutboxMetrics): ComponentDefinition<MysqlSettings, StateStore> {
  return {
    parse: parseMysqlSettings,

    async open(settings, { component, log, tracing }) {
      const database = openDatabase(settings)
      const tables = tablesOf(settings.tableName)
      const source = createMysqlRelaySource(database, tables)
      let topic: string | undefined
      try {
        await migrate(database, tables)
        topic = await routedTopic(settings, source)
        if (topic !== undefined) await requireBinaryLog(database)
      } catch (error) {
        await database.close()
        throw error
      }
      const metered = metrics.forComponent(component, source.backlog)
      const relay = startConfiguredRelay(settings, source, { component, metrics: metered, tracing, log })
      const sweeper = startSweeper((limit) => deleteExpired(database, tables, limit), log)
      const store = createMysqlStore({
        database,
        tables,
        events: eventDefaults(settings),
        groups: settings.groupCommit ? groupLimits : ungrouped(settings.maxConnections),
        onEvents: topic === undefined ? relay?.wake : () => {},
        routedTopic: topic,
        log,
      })
      return {
        ...store,
        attributes: {
          'db.system.name': 'mysql',
          'db.namespace': settings.address.database,
          'db.collection.name': settings.tableName,
        },
        async close() {
          await relay?.close()
          await sweeper.close()
          metered.remove()
          await database.close()
        },
      }
    },
  }
}
