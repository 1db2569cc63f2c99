import { execFile } from 'node:child_process'
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'

const execute = promisify(execFile)

/**
 * Compares the protos with those of main: clients compiled against main must keep working. Skips
 * the comparison where main has no rule for it in its buf.yaml, and in clones without main, such as
 * shallow ones. Throws Error with what breaks, or when the comparison itself fails.
 * @param buf path of the program
 */
export async function checkProtosAgainstMain(root: string, buf: string): Promise<void> {
  const git = (...args: string[]) => execute('git', args, { cwd: root })
  const main = await firstCommit(['origin/main', 'main'], git)
  if (main === undefined || !/^breaking:/m.test((await git('show', `${main}:buf.yaml`)).stdout)) return

  const folder = join(root, '.sidecart', 'protos-of-main')
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  // By way of a file: with the generated code it is larger than what execFile buffers.
  const archive = join(folder, 'main.tar')
  await git('archive', '--format=tar', `--output=${archive}`, main, 'protos', 'buf.yaml')
  await execute('tar', ['-xf', archive, '-C', folder])
  await execute(buf, ['breaking', '--against', folder], { cwd: root }).catch(
    ({ stdout, stderr }: { stdout: string; stderr: string }) => {
      throw new Error(`The protos break clients of ${main}:\n${stdout}${stderr}`)
    },
  )
}

async function firstCommit(names: string[], git: (...args: string[]) => Promise<unknown>): Promise<string | undefined> {
  for (const name of names) {
    const exists = await git('rev-parse', '--verify', '--quiet', `${name}^{commit}`).then(
      () => true,
      () => false,
    )
    if (exists) return name
  }
  return undefined
}
