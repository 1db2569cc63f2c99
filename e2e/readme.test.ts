import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, inject, it } from 'vitest'
import { product } from './shop-client.ts'

it('the first order of the README works when pasted', async () => {
  await product(100)
  const readme = readFileSync(join(import.meta.dirname, '..', 'README.md'), 'utf8')
  const script = /```bash\n([\s\S]*?)```/.exec(readme)![1]!
  // Through a pipe: unlike a terminal, the socket that Node passes as stderr cannot be opened as
  // /dev/stderr.
  const { stdout } = await promisify(execFile)('bash', ['-c', `{ ${script}\n} 2>&1 | cat`], {
    env: { ...process.env, API: inject('shopApi'), SIDECART_JAEGER: inject('shopJaeger') },
  })
  expect(stdout).toMatch(/^traceparent: 00-/im)
  const statuses = [...stdout.matchAll(/^(?:PENDING|RESERVED|CONFIRMED|CANCELLED)$/gm)].map(String)
  expect(statuses.at(-1)).toBe('CONFIRMED')
  const trace = stdout.slice(stdout.lastIndexOf('\nCONFIRMED\n'))
  for (const service of ['gateway', 'orders', 'inventory', 'payments']) expect(trace).toContain(service)
})
