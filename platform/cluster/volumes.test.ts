import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { inside } from './paths.ts'
import { makeVolumeFolders, volumeResources } from './volumes.ts'

type Volume = { kind: string; spec?: { local: { path: string } } }

it('every volume has its folder', () => {
  const node = mkdtempSync(join(tmpdir(), 'volumes-'))
  try {
    makeVolumeFolders({ node })
    const volumes = (volumeResources() as Volume[]).filter(({ kind }) => kind === 'PersistentVolume')
    expect(volumes.length).toBeGreaterThan(3)
    const missing = volumes.filter(({ spec }) => !existsSync(spec!.local.path.replace(inside, node)))
    expect(missing).toEqual([])
  } finally {
    rmSync(node, { recursive: true })
  }
})
