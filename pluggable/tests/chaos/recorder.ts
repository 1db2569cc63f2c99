import { event, type StoreClient, type TestDatabase } from '../stores.ts'
import { findViolations, type Attempt, type Outcome, type Violation } from './checker.ts'
import { judge } from './history.ts'
import { readState } from './read-state.ts'
import { readTopic } from './read-topic.ts'

/** Writes like the service of a chaos run, by a component's socket, and records the outcomes. */
export function createRecorder() {
  const attempts: Attempt[] = []
  return {
    attempts,

    /** Commits state and event of each of these keys in one transaction; returns its outcome. */
    async write(client: StoreClient, keys: string[]): Promise<Outcome> {
      const id = `t${attempts.length}`
      const attempt: Attempt = { id, outcome: 'unknown', events: keys.map((key) => ({ id: `${id}:${key}`, key })) }
      attempts.push(attempt)
      const operations = keys.flatMap((key) => [
        { key: `state:${key}`, value: { by: id } },
        event(key, { by: id }, { 'cloudevent.id': `${id}:${key}` }),
      ])
      try {
        await client.transact([...operations, { key: `done:${id}`, value: {} }])
        attempt.outcome = 'acked'
      } catch (error) {
        attempt.outcome = judge(error).outcome
      }
      return attempt.outcome
    },

    /** Returns the checker's findings on everything written so far. */
    async violations(database: TestDatabase, brokers: string, topic: string): Promise<Violation[]> {
      return findViolations(attempts, await readState(database.properties), await readTopic(brokers, topic))
    },
  }
}
