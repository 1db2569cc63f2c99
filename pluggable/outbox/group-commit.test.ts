import { expect, test } from 'vitest'
import { ComponentError } from '../host/errors.ts'
import { createGroupCommit, groupLimits, ungrouped, type GroupLimits } from './group-commit.ts'

type Named = { name: string; keys: string[]; bytes: number }

const of = (name: string, ...keys: string[]): Named => ({ name, keys, bytes: 1 })

/** A commit that records its groups and waits for the test to finish them. */
function recorder(limits: GroupLimits = { ...groupLimits, groups: 1 }) {
  const groups: {
    names: string
    done(outcomes?: (ComponentError | undefined)[]): Promise<void>
    fail(error: Error): Promise<void>
  }[] = []
  const turn = () => new Promise((resolve) => setImmediate(resolve))
  const submit = createGroupCommit<Named>((group) => {
    const { promise, resolve, reject } = Promise.withResolvers<(ComponentError | undefined)[]>()
    groups.push({
      names: group.map(({ name }) => name).join(''),
      async done(outcomes = []) {
        resolve(outcomes)
        await turn()
      },
      async fail(error) {
        reject(error)
        await turn()
      },
    })
    return promise
  }, limits)
  const failures: string[] = []
  const send = (...transactions: Named[]) => {
    for (const each of transactions)
      submit(each).catch((error: Error) => failures.push(`${each.name}: ${error.message}`))
    return turn()
  }
  return { groups, failures, send, names: () => groups.map(({ names }) => names) }
}

test('transactions that arrive during a group form the next one', async () => {
  const { groups, send, names } = recorder()
  await send(of('a', '1'))
  await send(of('b', '2'))
  await send(of('c', '3'))
  await groups[0]?.done()
  expect(names()).toEqual(['a', 'bc'])
})

test('transactions on one key run one at a time and keep their order', async () => {
  const { groups, send, names } = recorder({ ...groupLimits, groups: 3 })
  // c waits for b (key 2), which waits for a (key 1); d shares a key with none of them.
  await send(of('a', '1'), of('b', '1', '2'), of('c', '2'), of('d', '4'))
  expect(names()).toEqual(['ad'])
  await groups[0]?.done()
  expect(names()).toEqual(['ad', 'b'])
  await send(of('e', '5'))
  expect(names()).toEqual(['ad', 'b', 'e'])
  await groups[1]?.done()
  expect(names()).toEqual(['ad', 'b', 'e', 'c'])
})

test('a mismatch fails only its own transaction', async () => {
  const { groups, send, failures } = recorder()
  await send(of('a', '1'), of('b', '2'), of('c', '3'))
  await groups[0]?.done([undefined, new ComponentError('ETAG_MISMATCH', 'no'), undefined])
  expect(failures).toEqual(['b: no'])
})

test('a group that failed as a whole is retried one by one', async () => {
  const { groups, send, names, failures } = recorder()
  await send(of('a', '1'), of('b', '2'))
  await send(of('c', '3'))
  await groups[0]?.fail(new Error('one of you is wrong'))
  await groups[1]?.done()
  await groups[2]?.fail(new Error('it is me'))
  await groups[3]?.done()
  expect([names(), failures]).toEqual([['ab', 'a', 'b', 'c'], ['b: it is me']])
})

test.each(['STORE_UNAVAILABLE', 'COMMIT_UNKNOWN'] as const)(
  '%s fails the whole group, and nothing is retried',
  async (code) => {
    const { groups, send, names, failures } = recorder()
    await send(of('a', '1'), of('b', '2'))
    await groups[0]?.fail(new ComponentError(code, 'down'))
    expect([names(), failures]).toEqual([['ab'], ['a: down', 'b: down']])
  },
)

test('a database that does not respond fails waiting transactions too', async () => {
  const { groups, send, names, failures } = recorder()
  await send(of('a', '1'))
  await send(of('b', '1'), of('c', '2'))
  await groups[0]?.fail(new ComponentError('STORE_UNAVAILABLE', 'down'))
  expect([names(), failures.toSorted()]).toEqual([['a'], ['a: down', 'b: down', 'c: down']])
})

test('a group is limited in number and bytes, but takes one transaction of any size', async () => {
  const { groups, send, names } = recorder({ ...groupLimits, groups: 1, transactions: 2, bytes: 10 })
  await send({ ...of('a', '1'), bytes: 50 }, of('b', '2'), of('c', '3'), of('d', '4'), { ...of('e', '5'), bytes: 10 })
  for (const index of [0, 1, 2]) await groups[index]?.done()
  expect(names()).toEqual(['a', 'bc', 'd', 'e'])
})

test('without group commit, transactions run in parallel, each alone', async () => {
  const { send, names } = recorder(ungrouped(2))
  await send(of('a', '1'), of('b', '2'), of('c', '3'))
  expect(names()).toEqual(['a', 'b'])
})

test('a transaction whose turn does not come in time is rejected, one that has begun is not', async () => {
  const { send, failures } = recorder({ ...groupLimits, groups: 1, waitMs: 20 })
  await send(of('a', '1'), of('b', '1'))
  await expect.poll(() => failures).toEqual(['b: too many concurrent writers (no turn within 20 ms)'])
})

test('callers beyond the longest queue are rejected at once', async () => {
  const { send, failures } = recorder({ ...groupLimits, groups: 1, waiting: 1 })
  await send(of('a', '1'))
  await send(of('b', '1'), of('c', '1'))
  expect(failures).toEqual(['c: too many concurrent writers (1 already waiting)'])
})
