import { expect, test } from 'vitest'
import { createSharedReads } from './shared-reads.ts'

function storeOf(rows: Record<string, string>) {
  const calls: { keys: string[]; answer: () => void; fail: (error: Error) => void }[] = []
  const read = createSharedReads({
    bulkText: (keys) =>
      new Promise((resolve, reject) => {
        const answer = () =>
          resolve(
            new Map(keys.flatMap((key) => (key in rows ? [[key, { text: rows[key]!, etag: '1' }] as const] : []))),
          )
        calls.push({ keys, answer, fail: reject })
      }),
  })
  return { calls, read }
}
const turn = () => new Promise((resolve) => setImmediate(resolve))

test('reads that come together are one call, and those that come meanwhile the next', async () => {
  const { calls, read } = storeOf({ a: '1', b: '2' })
  const first = [read('a'), read('b'), read('a'), read('none')]
  await turn()
  expect(calls.map(({ keys }) => keys)).toEqual([['a', 'b', 'none']])
  void read('c')
  await turn()
  const later = [read('a'), read('d')]
  await turn()
  expect(calls).toHaveLength(2)
  calls[0]!.answer()
  expect(await Promise.all(first)).toEqual(['1', '2', '1', undefined])
  await turn()
  expect(calls[2]!.keys).toEqual(['a', 'd'])
  calls[2]!.answer()
  expect(await Promise.all(later)).toEqual(['1', undefined])
})

test('a call that fails fails its own reads, and no others', async () => {
  const { calls, read } = storeOf({ a: '1' })
  const failed = read('a')
  await turn()
  const fine = read('a')
  await turn()
  calls[0]!.fail(new Error('away'))
  await expect(failed).rejects.toThrow('away')
  calls[1]!.answer()
  expect(await fine).toBe('1')
})

test('many reads are calls of at most 32 keys', async () => {
  const { calls, read } = storeOf({})
  const all = Array.from({ length: 100 }, (_, i) => read(`k${i}`))
  for (let done = 0; done < 4; done += 1) {
    await turn()
    expect(calls[done]!.keys.length).toBeLessThanOrEqual(32)
    calls[done]!.answer()
  }
  expect(await Promise.all(all)).toHaveLength(100)
})
