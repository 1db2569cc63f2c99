import { expect, test } from 'vitest'
import { deadLetterTopics, serviceNames, services, topics } from './services.ts'

test('a service has the databases, components and topics that its YAML names', () => {
  expect(services.catalog).toMatchObject({
    databases: ['mongodb', 'mysql'],
    components: ['outbox-mysql', 'outbox-mongodb', 'bindings-mongodb'],
    publishes: ['products', 'categories'],
    subscribes: ['categories', 'stock-imports', 'stock-levels'],
    deadLetterTopics: ['catalog.dlq'],
  })
  expect(services.gateway).toMatchObject({ databases: [], components: [], publishes: [], subscribes: [] })
})

test('the topics are those that stores publish to by themselves, and those that are subscribed to', () => {
  const named = [
    'password-resets',
    'payment-requests',
    'product-availability',
    'product-imports',
    'stock-imports',
    'stock-levels',
  ]
  expect(topics.toSorted()).toEqual(
    ['categories', 'orders', 'payments', 'products', 'stock', 'users', ...named].toSorted(),
  )
  for (const name of serviceNames) expect(topics).toEqual(expect.arrayContaining(services[name].subscribes))
})

test('every service that subscribes has a dead-letter topic of its own', () => {
  const subscribers = serviceNames.filter((name) => services[name].subscribes.length > 0)
  expect(deadLetterTopics).toEqual(subscribers.map((name) => `${name}.dlq`))
})
