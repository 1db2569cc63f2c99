// The cgroup in which a cluster's pods are: one folder per hierarchy (version 1), or one (version
// 2).
import { existsSync, mkdirSync, readFileSync, readdirSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { poll } from '../poll.ts'

const top = '/sys/fs/cgroup'

const isUnified = () => existsSync(join(top, 'cgroup.controllers'))

function hierarchies(): string[] {
  if (isUnified()) return [top]
  return readdirSync(top)
    .map((name) => join(top, name))
    .filter((folder) => existsSync(join(folder, 'cgroup.procs')))
}

/** Creates a cgroup that kubelet accepts as its root. */
export function createCgroup(name: string): void {
  for (const hierarchy of hierarchies()) {
    const folder = join(hierarchy, name)
    mkdirSync(folder, { recursive: true })
    if (isUnified()) for (const parent of [top, folder]) enableControllers(parent)
    // All pods together would otherwise weigh as much as one of the machine's other processes:
    // beside a compiler they took minutes to start.
    for (const [file, weight] of [
      ['cpu.shares', '20480'],
      ['cpu.weight', '2000'],
    ] as const)
      if (existsSync(join(folder, file))) writeFileSync(join(folder, file), weight)
    // Version 1: a new cpuset is empty, and none of its children may be filled.
    for (const file of ['cpuset.cpus', 'cpuset.mems']) {
      if (isUnified() || !existsSync(join(folder, file))) continue
      writeFileSync(join(folder, file), readFileSync(join(hierarchy, file)))
    }
  }
}

/** What kubelet needs; most machines have them on already. */
const controllers = ['cpu', 'cpuset', 'io', 'memory', 'pids', 'hugetlb']

/** Version 2: lets the children of a cgroup have limits. */
function enableControllers(folder: string): void {
  const read = (file: string) => readFileSync(join(folder, file), 'utf8').trim().split(' ')
  const [available, enabled] = [read('cgroup.controllers'), read('cgroup.subtree_control')]
  for (const name of controllers.filter((each) => available.includes(each) && !enabled.includes(each)))
    writeFileSync(join(folder, 'cgroup.subtree_control'), `+${name}`)
}

/** Returns the folders of a cgroup that exist, in all hierarchies. */
export function cgroupFolders(name: string): string[] {
  return hierarchies()
    .map((hierarchy) => join(hierarchy, name))
    .filter((folder) => existsSync(folder))
}

/**
 * Removes a cgroup whose processes have ended, with all that is below. @throws Error if it stays
 */
export async function removeCgroup(name: string): Promise<void> {
  // The kernel holds on to a cgroup for a moment after its last process.
  await poll(
    `remove cgroup ${name}`,
    () => {
      for (const folder of cgroupFolders(name)) removeFolders(folder)
      return true
    },
    { timeoutMs: 10_000, intervalMs: 50 },
  )
}

function removeFolders(folder: string): void {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.isDirectory()) removeFolders(join(folder, entry.name))
  }
  rmdirSync(folder)
}
