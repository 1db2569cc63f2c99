import { expect, it } from 'vitest'
import type { ImageArchive } from './images/archive.ts'
import { fullName, inRounds, withImageIds } from './image-import.ts'
import type { Resource } from './resources.ts'

it('images have a registry and a tag in containerd', () => {
  expect(fullName('sidecart/orders')).toBe('docker.io/sidecart/orders:latest')
  expect(fullName('sidecart/orders:1.0')).toBe('docker.io/sidecart/orders:1.0')
  expect(fullName('node:24')).toBe('docker.io/library/node:24')
  expect(fullName('ghcr.io/dapr/daprd:1.18.0')).toBe('ghcr.io/dapr/daprd:1.18.0')
  expect(fullName('localhost:5000/orders')).toBe('localhost:5000/orders:latest')
})

it('bases come before what is built on them, each once', () => {
  const image = (name: string, base?: ImageArchive): ImageArchive => ({ name, archive: name, id: name, base })
  const debian = image('debian')
  const node = image('node', debian)
  const [orders, users, edge, pause] = [
    image('orders', node),
    image('users', node),
    image('edge', debian),
    image('pause'),
  ]
  const rounds = inRounds([orders, users, edge, pause]).map((round) => round.map(({ name }) => name))
  expect(rounds).toEqual([
    ['debian', 'pause'],
    ['node', 'edge'],
    ['orders', 'users'],
  ])
})

it('pods name an imported image by its id, and others as they are', () => {
  const pod = (...images: string[]) =>
    ({
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'orders' },
      spec: { template: { spec: { initContainers: [{ image: images[0] }], containers: [{ image: images[1] }] } } },
    }) as Resource
  const imported = { 'docker.io/sidecart/orders:latest': 'abc' }
  expect(withImageIds([pod('mysql:8.4', 'sidecart/orders')], imported)).toEqual([
    pod('mysql:8.4', 'docker.io/sidecart/orders:abc'),
  ])
})
