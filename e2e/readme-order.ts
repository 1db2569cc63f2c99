import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { inject } from 'vitest'

/**
 * Pastes the README's first order into a shell. The shop must have a product in stock.
 * @returns what it prints, the states of the order in turn, and the drawing of its trace
 */
export async function runReadmeOrder(): Promise<{ stdout: string; statuses: string[]; trace: string }> {
  const readme = readFileSync(join(import.meta.dirname, '..', 'README.md'), 'utf8')
  const script = /```bash\n([\s\S]*?)```/.exec(readme)![1]!
  // Through a pipe: unlike a terminal, the socket that Node passes as stderr cannot be opened as
  // /dev/stderr.
  const { stdout } = await promisify(execFile)('bash', ['-c', `{ ${script}\n} 2>&1 | cat`], {
    env: { ...process.env, API: inject('shopApi'), SIDECART_JAEGER: inject('shopJaeger') },
  })
  const statuses = [...stdout.matchAll(/^(?:PENDING|RESERVED|CONFIRMED|CANCELLED)$/gm)].map(String)
  return { stdout, statuses, trace: stdout.slice(stdout.lastIndexOf('\nCONFIRMED\n')) }
}
