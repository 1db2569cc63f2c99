import { expect, it } from 'vitest'
import { poll } from '../../platform/poll.ts'
import { api, product, uncached } from '../shop-client.ts'
import { kubectlJson } from './kubectl.ts'

const replicas = async (): Promise<number> => {
  const { items } = await kubectlJson(['get', 'deployments', '-l', 'app.kubernetes.io/name=gateway'])
  return items[0].status.readyReplicas ?? 0
}

it('the gateway is scaled out under load, and back when it is over', async () => {
  await product(1)
  // Starting takes as much CPU as load does.
  await poll('an idle gateway has one pod', async () => (await replicas()) === 1, { timeoutMs: 240_000 })
  let done = false
  const failures: number[] = []
  const readers = Promise.all(
    Array.from({ length: 12 }, async () => {
      while (!done) {
        const { status } = await api('/v1/products?limit=20', { headers: uncached })
        // 429: the limits of the edge and the gateway hold for this reader too.
        if (status !== 200 && status !== 429) failures.push(status)
      }
    }),
  )
  try {
    await poll('the gateway has more pods', async () => (await replicas()) > 1, { timeoutMs: 180_000 })
  } finally {
    done = true
    await readers
  }
  expect(failures).toEqual([])
  await poll('the gateway has one pod again', async () => (await replicas()) === 1, { timeoutMs: 240_000 })
}, 720_000)
