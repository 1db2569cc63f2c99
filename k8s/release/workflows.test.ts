import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { parse } from 'yaml'
import { root } from '../../platform/processes/paths.ts'

const read = (file: string) => readFileSync(join(root, file), 'utf8')
const workflows = globSync('.github/workflows/*.yml', { cwd: root })
const targets = [...read('images/Containerfile').matchAll(/^CMD|^FROM \S+ AS (\S+)/gm)]
  // A stage with a command of its own is an image.
  .flatMap(([line], i, all) => (line === 'CMD' ? [all[i - 1]?.[1] ?? ''] : []))
  .toSorted()

it('builds every image of the Containerfile', () => {
  expect(targets.length).toBeGreaterThan(8)
  const { jobs } = parse(read('.github/workflows/images.yml')) as {
    jobs: { image: { strategy: { matrix: { target: string[] } } } }
  }
  expect(jobs.image.strategy.matrix.target.toSorted()).toEqual(targets)
})

it('verifies every image that is deployed', () => {
  const names = /for name in ([\w\\\s-]+?); do/.exec(read('.github/workflows/deploy.yml'))?.[1]?.split(/[\s\\]+/)
  expect(names?.toSorted()).toEqual(targets.filter((target) => !['mailbox', 'payment-sandbox'].includes(target)))
  const { images } = parse(read('k8s/overlays/production/kustomization.yaml')) as { images: { name: string }[] }
  expect(images.map(({ name }) => name.replace('sidecart/', '')).toSorted()).toEqual(names?.toSorted())
})

it.each(workflows)('%s pins every action to a commit, and grants nothing by default', (file) => {
  const uses = [...read(file).matchAll(/uses: (\S+)(.*)/g)].filter(([, action]) => !action!.startsWith('./'))
  const loose = uses.filter(([, action, rest]) => !/@[0-9a-f]{40}$/.test(action!) || !/^ # v\d/.test(rest!))
  expect(loose.map(([line]) => line)).toEqual([])
  expect((parse(read(file)) as { permissions?: object }).permissions).toEqual({ contents: 'read' })
})
