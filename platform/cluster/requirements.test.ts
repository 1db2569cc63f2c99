import { describe, expect, it } from 'vitest'
import { findPrograms, type Machine } from './requirements.ts'

const machine: Machine = { platform: 'linux', isRoot: true, find: (name) => `/usr/bin/${name}`, exists: () => true }

describe('a cluster of its own', () => {
  it('is possible with everything there', () => {
    expect(findPrograms(machine)).toMatchObject({ containerd: '/usr/bin/containerd', ip: '/usr/bin/ip' })
  })

  it('names the packages that are missing in the one line that installs them', () => {
    const without = (...missing: string[]) => ({
      ...machine,
      find: (name: string) => (missing.includes(name) ? undefined : `/usr/bin/${name}`),
    })
    expect(() => findPrograms(without('containerd', 'ctr', 'nft'))).toThrow(
      'apt-get install --no-install-recommends containerd nftables\n',
    )
    expect(() => findPrograms({ ...machine, exists: () => false })).toThrow('containernetworking-plugins\n')
  })

  it('is refused elsewhere, with a line for each other way', () => {
    for (const other of [
      { ...machine, isRoot: false },
      { ...machine, platform: 'darwin' as const },
    ]) {
      for (const way of ['kind', 'k3d', 'minikube']) expect(() => findPrograms(other)).toThrow(way)
    }
  })
})
