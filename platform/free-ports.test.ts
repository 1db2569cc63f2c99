import { once } from 'node:events'
import { createServer } from 'node:net'
import { expect, test } from 'vitest'
import { freePorts } from './free-ports.ts'

test('free ports differ, are never given twice in a row, and are below those of outgoing connections', async () => {
  const ports = (await Promise.all([freePorts(20), freePorts(20)])).flat()
  expect(new Set(ports).size).toBe(40)
  expect(ports.every((port) => port >= 10_000 && port < 20_000)).toBe(true)
})

test('a port that is listened on is passed over', async () => {
  const [first] = await freePorts(1)
  const taken = createServer().listen(first! + 1, '127.0.0.1')
  await once(taken, 'listening')
  expect(await freePorts(2)).toEqual([first! + 2, first! + 3])
  await once(taken.close(), 'close')
})
