import { expect, it } from 'vitest'
import { runReadmeOrder } from './readme-order.ts'
import { product } from './shop-client.ts'

it('the first order of the README works when pasted', async () => {
  await product(100)
  const { stdout, statuses, trace } = await runReadmeOrder()
  expect(stdout).toMatch(/^traceparent: 00-/im)
  expect(statuses.at(-1)).toBe('CONFIRMED')
  for (const service of ['gateway', 'orders', 'inventory', 'payments']) expect(trace).toContain(service)
})
