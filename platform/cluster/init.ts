// The node itself: sets up its namespaces, starts its programs and keeps them running. It is the
// only child of the first process of a PID namespace of its own (node.ts): when one of them ends,
// everything ends.
//
// What a Kubernetes node writes to a machine goes elsewhere here:
// - /run is empty and in memory: sockets, and the state of containers.
// - /var/lib is the machine's, with a layer in memory above it; /var/log is another folder.
// - Settings of the whole kernel that kubelet wants to change are copies.
import { execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { poll } from '../poll.ts'
import { nodeName, type Network } from './network.ts'
import { containerdProgram, ctrCommand, nodePrograms, type NodeProgram, type Programs } from './node-programs.ts'
import { containerdSocket, inside, type ClusterPaths } from './paths.ts'

export type InitInput = {
  network: Network
  programs: Programs
  containerd: string
  ctr: string
  paths: Pick<ClusterPaths, 'node' | 'images' | 'logs'>
}

/** Kernel settings of the whole machine that kubelet overwrites. */
const kernelSettings = [
  'vm/overcommit_memory',
  'vm/panic_on_oom',
  'kernel/panic',
  'kernel/panic_on_oops',
  'kernel/keys/root_maxkeys',
  'kernel/keys/root_maxbytes',
]

const log = (text: string) => console.log(`${new Date().toISOString()} ${text}`)

function run(command: string, ...args: string[]): string {
  return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] })
}

function separateFiles(paths: InitInput['paths']): void {
  // Made beside its place and then put over /run, since the clone may be below /run itself.
  const run_ = join(paths.node, 'run')
  mkdirSync(run_)
  run('mount', '-t', 'tmpfs', '-o', 'mode=755', 'tmpfs', run_)
  for (const name of ['sidecart', 'images', 'kernel', 'tmp', 'lib', 'lib-work']) mkdirSync(join(run_, name))
  run('mount', '--bind', paths.node, join(run_, 'sidecart'))
  run('mount', '--bind', paths.images, join(run_, 'images'))
  run('mount', '--rbind', run_, '/run')

  run('mount', '-t', 'overlay', '-o', 'lowerdir=/var/lib,upperdir=/run/lib,workdir=/run/lib-work', 'lib', '/var/lib')
  for (const [from, to] of [
    ['/run/images', '/var/lib/containerd'],
    [`${inside}/kubelet`, '/var/lib/kubelet'],
    [`${inside}/log`, '/var/log'],
  ] as const) {
    mkdirSync(to, { recursive: true })
    mkdirSync(from, { recursive: true })
    run('mount', '--bind', from, to)
  }
  for (const setting of kernelSettings) {
    const copy = `/run/kernel/${setting.replaceAll('/', '.')}`
    writeFileSync(copy, readFileSync(`/proc/sys/${setting}`))
    run('mount', '--bind', copy, `/proc/sys/${setting}`)
  }
  // Pods' mounts are made by kubelet and have to appear for containerd and runc as well.
  run('mount', '--make-rshared', '/')
}

async function connect({ hostAddress, nodeAddress }: Network): Promise<void> {
  run('hostname', nodeName)
  run('ip', 'link', 'set', 'lo', 'up')
  // node.ts moves the link here when it knows this namespace.
  await poll("the host's link", () => readFileSync('/proc/net/dev', 'utf8').includes('node0:'), { intervalMs: 10 })
  run('ip', 'address', 'add', `${nodeAddress}/24`, 'dev', 'node0')
  run('ip', 'link', 'set', 'node0', 'up')
  run('ip', 'route', 'add', 'default', 'via', hostAddress)
  writeFileSync('/proc/sys/net/ipv4/ip_forward', '1')
  // Bridged packets between pods pass kube-proxy's rules too.
  const bridged = '/proc/sys/net/bridge/bridge-nf-call-iptables'
  if (existsSync(bridged)) writeFileSync(bridged, '1')
}

function start({ name, command: [file = '', ...args] }: NodeProgram, logs: string) {
  const output = openSync(join(logs, `${name}.log`), 'a')
  const child = spawn(file, args, {
    stdio: ['ignore', output, output],
    env: { PATH: process.env['PATH'], HOME: '/root', TMPDIR: '/run/tmp' },
  })
  const ended = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message))
    child.once('exit', (code, signal) => resolve(`ended with ${signal ?? `code ${code}`}`))
  })
  return { child, ended }
}

/** A program that ends sooner than this, several times over, will not run at all. */
const soonMs = 10_000
const mostRestarts = 3

async function keepRunning(program: NodeProgram, logs: string): Promise<never> {
  for (let restarts = 0; ;) {
    const began = Date.now()
    const reason = await start(program, logs).ended
    restarts = Date.now() - began < soonMs ? restarts + 1 : 0
    log(`${program.name} ${reason}`)
    if (restarts > mostRestarts) throw new Error(`${program.name} does not stay up, see ${program.name}.log`)
    await sleep(500)
  }
}

/**
 * Containers of an earlier run that was killed stand in containerd's database, beside the images
 * that are to be kept. containerd's part for Kubernetes would show them to kubelet.
 */
async function forgetContainers({ containerd, ctr, paths }: InitInput): Promise<void> {
  const root = '/var/lib/containerd'
  if (!existsSync(`${root}/io.containerd.metadata.v1.bolt/meta.db`)) return
  for (const name of ['io.containerd.grpc.v1.cri', 'io.containerd.runtime.v2.task'])
    rmSync(join(root, name), { recursive: true, force: true })
  const { child, ended } = start(containerdProgram(containerd, 'containerd-without-kubernetes.toml'), paths.logs)
  const [program = '', ...flags] = ctrCommand(ctr)
  const list = await poll('containerd', () => run(program, ...flags, 'containers', 'list', '--quiet').split('\n'), {
    timeoutMs: 10_000,
    intervalMs: 20,
  })
  const containers = list.filter(Boolean)
  if (containers.length > 0) run(program, ...flags, 'containers', 'delete', ...containers)
  child.kill()
  await ended
  rmSync(containerdSocket, { force: true })
}

const input = JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8')) as InitInput
const { network, programs, containerd, paths } = input
separateFiles(paths)
await connect(network)
log('set up')
const [kubelet, rest] = split(nodePrograms(programs, network), ({ name }) => name === 'kubelet')
const withContainerd = async () => {
  await forgetContainers(input)
  const containerdRuns = keepRunning(containerdProgram(containerd, 'containerd.toml'), paths.logs)
  // kubelet ends when it does not find it.
  await poll('containerd', () => existsSync(containerdSocket), { intervalMs: 10 })
  await Promise.all([containerdRuns, ...kubelet.map((program) => keepRunning(program, paths.logs))])
}
await Promise.all([withContainerd(), ...rest.map((program) => keepRunning(program, paths.logs))])

function split<T>(list: T[], test: (item: T) => boolean): [T[], T[]] {
  return [list.filter(test), list.filter((item) => !test(item))]
}
