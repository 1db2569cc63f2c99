import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { fromApt } from './apt.ts'
import { isInstalled } from './find.ts'

let folder: string
let log: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sidecart-apt-'))
  log = `${folder}.log`
})
afterEach(() => {
  rmSync(folder, { recursive: true })
  rmSync(log, { force: true })
})

describe.skipIf(!isInstalled('apt-get') || !isInstalled('dpkg-deb'))("Debian's package", () => {
  it('is unpacked with its libraries, and runs with them from any folder', async () => {
    await fromApt('nginx', 'usr/sbin/nginx', [1, 18])(folder, log)
    const starter = join(folder, 'bin', 'nginx')
    const { stderr } = spawnSync(starter, ['-v'], { encoding: 'utf8', cwd: '/' })
    expect(stderr).toMatch(/^nginx version: /)
    const libraries = execFileSync('find', [folder, '-name', 'libssl.so*'], { encoding: 'utf8' })
    expect(libraries).not.toBe('')
    expect(readdirSync(folder)).not.toContain('packages')
  })

  it('is refused when it is too old', async () => {
    await expect(fromApt('nginx', 'usr/sbin/nginx', [99])(folder, log)).rejects.toThrow(/nginx 1\.\S+, which is older/)
  })
})
