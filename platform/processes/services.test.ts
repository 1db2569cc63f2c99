import { expect, test } from 'vitest'
import { deadLetterTopics, serviceNames, services, topics } from './services.ts'

test('a service has the databases, components and topics that its YAML names', () => {
  expect(services.catalog).toMatchObject({
    databases: ['mongodb', 'mysql'],
    components: ['outbox-mongodb', 'bindings-mongodb'],
    publishes: ['products'],
    subscribes: ['stock'],
    deadLetterTopics: ['catalog.dlq'],
  })
  expect(services.gateway).toMatchObject({ databases: [], components: [], publishes: [], subscribes: [] })
})

test('every topic that a service subscribes to is published by a store', () => {
  expect(topics.toSorted()).toEqual(['orders', 'payments', 'products', 'stock', 'users'])
  for (const name of serviceNames) expect(topics).toEqual(expect.arrayContaining(services[name].subscribes))
})

test('every service that subscribes has a dead-letter topic of its own', () => {
  const subscribers = serviceNames.filter((name) => services[name].subscribes.length > 0)
  expect(deadLetterTopics).toEqual(subscribers.map((name) => `${name}.dlq`))
})
