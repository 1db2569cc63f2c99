// What the machine itself must have for a cluster of its own.
import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'

const cniPlugins = '/usr/lib/cni'

/** Programs by name, and the Debian package of each. */
const programs = {
  containerd: 'containerd',
  ctr: 'containerd',
  'containerd-shim-runc-v2': 'containerd',
  runc: 'runc',
  nft: 'nftables',
  ip: 'iproute2',
  mount: 'mount',
  unshare: 'util-linux',
  hostname: 'hostname',
  openssl: 'openssl',
  buildah: 'buildah',
  mmdebstrap: 'mmdebstrap',
  strip: 'binutils',
} as const

const otherWays = `Other ways to a cluster, each then used with --context:
  kind create cluster                   npm run cluster -- up --context kind-kind
  k3d cluster create sidecart           npm run cluster -- up --context k3d-sidecart
  minikube start                        npm run cluster -- up --context minikube`

/**
 * Finds what a cluster of its own needs on this machine.
 * @returns the path of each program
 * @throws Error that says what to install, or which other ways there are
 */
export function findPrograms(machine = thisMachine()): Record<keyof typeof programs, string> {
  if (machine.platform !== 'linux' || !machine.isRoot) {
    const reason = machine.platform === 'linux' ? 'needs root' : 'needs Linux'
    throw new Error(`A cluster of its own ${reason}. ${otherWays}`)
  }
  const names = Object.keys(programs) as (keyof typeof programs)[]
  const found = names.map((name) => [name, machine.find(name)] as const)
  const packages = found.flatMap(([name, path]) => (path === undefined ? [programs[name]] : []))
  const plugins = ['bridge', 'host-local', 'loopback'].every((name) => machine.exists(join(cniPlugins, name)))
  const missing = [...new Set([...packages, ...(plugins ? [] : ['containernetworking-plugins'])])]
  if (missing.length > 0) {
    throw new Error(
      `Missing on this machine: ${missing.join(', ')}. On Debian or Ubuntu:\n` +
        `  apt-get install --no-install-recommends ${missing.join(' ')}\n${otherWays}`,
    )
  }
  return Object.fromEntries(found) as Record<keyof typeof programs, string>
}

/** Returns one of the programs, for what needs no other. */
export function programPath(name: keyof typeof programs): string {
  return thisMachine().find(name) ?? name
}

export type Machine = {
  platform: NodeJS.Platform
  isRoot: boolean
  find: (program: string) => string | undefined
  exists: (path: string) => boolean
}

function thisMachine(): Machine {
  // Some of them are in folders that only root's own PATH has.
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin', '/usr/local/sbin']
  return {
    platform: process.platform,
    isRoot: process.getuid?.() === 0,
    find: (program) => folders.map((folder) => join(folder, program)).find((path) => existsSync(path)),
    exists: existsSync,
  }
}
