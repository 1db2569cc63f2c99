import { expect, it } from 'vitest'
import { fullName } from './image-import.ts'

it('images have a registry and a tag in containerd', () => {
  expect(fullName('sidecart/orders')).toBe('docker.io/sidecart/orders:latest')
  expect(fullName('sidecart/orders:1.0')).toBe('docker.io/sidecart/orders:1.0')
  expect(fullName('node:24')).toBe('docker.io/library/node:24')
  expect(fullName('ghcr.io/dapr/daprd:1.18.0')).toBe('ghcr.io/dapr/daprd:1.18.0')
  expect(fullName('localhost:5000/orders')).toBe('localhost:5000/orders:latest')
})
