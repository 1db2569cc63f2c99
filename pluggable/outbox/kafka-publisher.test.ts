import { expect, test } from 'vitest'
import { partitioner } from './kafka-publisher.ts'

// From UtilsTest.testMurmur2 of Kafka's clients.
const murmur2 = {
  '21': -973932308,
  foobar: -790332482,
  'a-little-bit-long-string': -985981536,
  'a-little-bit-longer-string': -1486304829,
  lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8: -58897971,
}

test("a key goes to the same partition as with Kafka's Java clients", () => {
  const partitionMetadata = Array.from({ length: 6 }, (_, partitionId) => ({
    partitionId,
    leader: 1,
    isr: [],
    replicas: [],
    partitionErrorCode: 0,
  }))
  const choose = partitioner()
  const chosen = Object.keys(murmur2).map((key) =>
    choose({ topic: 't', partitionMetadata, message: { key, value: '' } }),
  )
  expect(chosen).toEqual(Object.values(murmur2).map((hash) => (hash & 0x7fffffff) % 6))
})
