import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { listBuilds } from './builds.ts'

it('adds to each overlay each component that it leaves out, with what that needs, unless they conflict', () => {
  const k8s = mkdtempSync(join(tmpdir(), 'builds-'))
  onTestFinished(() => rmSync(k8s, { recursive: true }))
  const write = (folder: string, kustomization: object) => {
    mkdirSync(join(k8s, folder), { recursive: true })
    writeFileSync(join(k8s, folder, 'kustomization.yaml'), JSON.stringify(kustomization))
  }
  write('base', { components: ['../components/always'] })
  write('overlays/test', { resources: ['../../base'], components: ['../../components/edge'] })
  write('overlays/local', { resources: ['../../base'] })
  write('overlays/test-canary', { resources: ['../test'], components: ['../../components/tls'] })
  write('components/always', {})
  write('components/edge', {})
  write('components/other-edge', { metadata: { annotations: { conflicts: 'edge' } } })
  write('components/tls', { metadata: { annotations: { needs: 'edge' } } })
  expect(listBuilds(k8s).map(({ name, components }) => [name, ...components])).toEqual([
    ['local'],
    ['local+edge', 'edge'],
    ['local+other-edge', 'other-edge'],
    ['local+tls', 'edge', 'tls'],
    ['test'],
    ['test+tls', 'tls'],
    ['test-canary'],
  ])
})
