// Starts and stops the one node of a cluster, in namespaces of its own: nothing of it is seen by
// the machine's other programs but a network link, and one kill ends all of it.
import { execFileSync, spawn } from 'node:child_process'
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { stringify } from 'yaml'
import { createAuthority } from '../certificates.ts'
import { poll } from '../poll.ts'
import { isAlive, residentBytes, startTime } from '../process-info.ts'
import { cgroupFolders, createCgroup, removeCgroup } from './cgroups.ts'
import type { InitInput } from './init.ts'
import { createNetwork, dnsAddress, freeNetworks, mostClusters, nodeName, type Network } from './network.ts'
import { accountNames, apiServerName, kubeconfig, nodeFiles, type Tokens } from './node-files.ts'
import type { Programs } from './node-programs.ts'
import { inPart } from './parts.ts'
import type { ClusterPaths } from './paths.ts'
import { findPrograms, programPath } from './requirements.ts'
import { makeVolumeFolders } from './volumes.ts'

/** A running node as it is recorded, so that another command can find and end it. */
export type NodeRecord = {
  /** The process whose end takes everything with it. */
  supervisor: { pid: number; started: string }
  /** The first process in the namespaces, by the machine's numbers. */
  init: number
  /** Tells the node's processes from all others, also when the first one has ended. */
  pidNamespace: string
  network: Network
  cgroup: string
}

/** Returns the node that runs, undefined when there is none. */
export function runningNode(paths: ClusterPaths): NodeRecord | undefined {
  const record = readRecord(paths)
  return record && record.init > 0 && isAlive(record.supervisor.pid, record.supervisor.started) ? record : undefined
}

function readRecord(paths: ClusterPaths): NodeRecord | undefined {
  if (!existsSync(paths.record)) return undefined
  return JSON.parse(readFileSync(paths.record, 'utf8')) as NodeRecord
}

/**
 * Starts a node and returns while its programs are still starting; the kubeconfig is written. What
 * an earlier one left is removed first.
 * @throws Error that says what the machine lacks
 */
export async function startNode(paths: ClusterPaths): Promise<NodeRecord> {
  const machine = findPrograms()
  await stopNode(paths)
  for (const folder of [paths.logs, paths.node]) rmSync(folder, { recursive: true, force: true })
  for (const folder of [paths.logs, paths.node, paths.images]) mkdirSync(folder, { recursive: true, mode: 0o700 })

  const network = createLink(machine.ip)
  const cgroup = network.link
  const record: NodeRecord = { supervisor: { pid: 0, started: '' }, init: 0, pidNamespace: '', network, cgroup }
  const write = () => writeFileSync(paths.record, JSON.stringify(record, undefined, 2))
  write()
  try {
    createCgroup(cgroup)
    writeNodeFiles(paths, network, cgroup)
    makeVolumeFolders(paths)
    const programs = Object.fromEntries(
      ['kube-apiserver', 'kube-controller-manager', 'kube-scheduler', 'kubelet', 'kube-proxy'].map((name) => [
        name,
        inPart('kubernetes', name),
      ]),
    )
    const input: InitInput = {
      network,
      programs: { ...(programs as Omit<Programs, 'etcd'>), etcd: inPart('etcd') },
      containerd: machine.containerd,
      ctr: machine.ctr,
      paths,
    }
    writeFileSync(paths.initInput, JSON.stringify(input))
    record.supervisor = spawnInNamespaces(machine.unshare, paths)
    write()
    record.init = await poll('the first process of the node', () => childOf(record.supervisor.pid), { intervalMs: 10 })
    record.pidNamespace = readlinkSync(`/proc/${record.init}/ns/pid`)
    write()
    execFileSync(machine.ip, ['link', 'set', peerOf(network), 'netns', String(record.init), 'name', 'node0'])
    return record
  } catch (error) {
    await stopNode(paths)
    throw error
  }
}

function spawnInNamespaces(unshare: string, paths: ClusterPaths): NodeRecord['supervisor'] {
  const log = openSync(join(paths.logs, 'init.log'), 'a')
  const namespaces = ['--mount', '--pid', '--fork', '--mount-proc', '--net', '--uts', '--ipc', '--kill-child=KILL']
  // The shell is the first process: it inherits what other programs leave, and buries it. Node
  // would not.
  const shell = ['sh', '-c', '"$@" & wait "$!"', 'sh']
  const init = [process.execPath, join(import.meta.dirname, 'init.ts'), paths.initInput]
  const child = spawn(unshare, [...namespaces, ...shell, ...init], {
    detached: true,
    stdio: ['ignore', log, log],
    cwd: '/',
    env: { PATH: `${process.env['PATH']}:/usr/sbin:/sbin` },
  })
  child.unref()
  const pid = child.pid ?? 0
  return { pid, started: startTime(pid) ?? '' }
}

function childOf(pid: number): number | undefined {
  if (!isAlive(pid)) throw new Error('it has ended, see init.log')
  const [child] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ')
  return Number(child) || undefined
}

const peerOf = ({ link }: Network) => `${link}n`

/**
 * Takes the first free network by creating its link, which only one process can do. The host can
 * reach the node and its pods as soon as the other end is in the node's namespace.
 */
function createLink(ip: string): Network {
  const run = (...args: string[]) => execFileSync(ip, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
  const routes = (JSON.parse(run('-json', '-4', 'route', 'show', 'table', 'all')) as { dst: string }[]).map(
    ({ dst }) => dst,
  )
  for (const network of freeNetworks(routes)) {
    try {
      run('link', 'add', network.link, 'type', 'veth', 'peer', 'name', peerOf(network))
    } catch (error) {
      if (String((error as { stderr?: string }).stderr).includes('File exists')) continue
      throw error
    }
    run('address', 'add', `${network.hostAddress}/24`, 'dev', network.link)
    run('link', 'set', network.link, 'up')
    run('route', 'add', network.podSubnet, 'via', network.nodeAddress, 'dev', network.link)
    return network
  }
  throw new Error(`no network is free for a cluster: this machine has routes to all ${mostClusters}`)
}

function writeNodeFiles(paths: ClusterPaths, network: Network, cgroup: string): void {
  const tokens = Object.fromEntries(accountNames.map((name) => [name, randomBytes(24).toString('hex')])) as Tokens
  for (const [name, text] of Object.entries(nodeFiles(network, tokens, cgroup))) {
    const file = join(paths.node, name)
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, text, { mode: 0o600 })
  }
  const pki = join(paths.node, 'pki')
  mkdirSync(pki)
  const authority = createAuthority(pki, 'cluster', 365)
  authority.issue(nodeName, [`DNS:${nodeName}`, `IP:${network.nodeAddress}`])
  const service = 'kubernetes.default.svc'
  authority.issue(apiServerName, [
    ...['localhost', 'kubernetes', 'kubernetes.default', service, `${service}.cluster.local`].map((n) => `DNS:${n}`),
    `IP:${network.nodeAddress}`,
    // The first address of the Services is the API server's.
    `IP:${dnsAddress.replace(/\d+$/, '1')}`,
    'IP:127.0.0.1',
  ])
  const keys = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  })
  writeFileSync(join(pki, 'service-accounts.key'), keys.privateKey, { mode: 0o600 })
  writeFileSync(join(pki, 'service-accounts.pub'), keys.publicKey)
  const certificate = Buffer.from(authority.cert).toString('base64')
  const own = kubeconfig(network, { 'certificate-authority-data': certificate }, tokens.admin)
  writeFileSync(paths.kubeconfig, stringify(own), { mode: 0o600 })
}

/**
 * Ends a node, if there is one, and removes everything of it but its images and logs.
 * @returns whether there was one
 * @throws Error that names what could not be ended or removed
 */
export async function stopNode(paths: ClusterPaths): Promise<boolean> {
  const record = readRecord(paths)
  if (record === undefined) return false
  const { supervisor, network } = record
  if (supervisor.pid > 0 && isAlive(supervisor.pid, supervisor.started)) process.kill(supervisor.pid, 'SIGKILL')
  await poll('end the processes of the node', () => nodeProcesses(record).length === 0, {
    timeoutMs: 20_000,
    intervalMs: 20,
  })
  // It would vanish with the namespace of its other end, but the kernel keeps that for minutes:
  // until it gives up on the last connections of those that were killed.
  if (linkExists(network)) execFileSync(programPath('ip'), ['link', 'delete', network.link])
  await removeCgroup(record.cgroup)
  for (const path of [paths.node, paths.kubeconfig, paths.record]) rmSync(path, { recursive: true, force: true })
  return true
}

const linkExists = ({ link }: Network) => existsSync(`/sys/class/net/${link}`)

export type NodeProcess = { pid: number; name: string; rssBytes: number; isPod: boolean }

/** Returns all processes of a node, those of its pods included. */
export function nodeProcesses(record: Pick<NodeRecord, 'pidNamespace' | 'cgroup'>): NodeProcess[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      const place = placeOf(pid, record)
      if (place === undefined) return []
      return [{ pid: Number(pid), name: commandOf(pid), rssBytes: residentBytes(Number(pid)), isPod: place === 'pod' }]
    })
}

/** Pods are in PID namespaces of their own, but in a cgroup below the node's. */
function placeOf(
  pid: string,
  { pidNamespace, cgroup }: Pick<NodeRecord, 'pidNamespace' | 'cgroup'>,
): 'node' | 'pod' | undefined {
  try {
    if (readFileSync(`/proc/${pid}/cgroup`, 'utf8').includes(`:/${cgroup}/`)) return 'pod'
    return readlinkSync(`/proc/${pid}/ns/pid`) === pidNamespace ? 'node' : undefined
  } catch {
    // It has ended.
    return undefined
  }
}

function commandOf(pid: string): string {
  try {
    return basename(readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')[0] ?? '')
  } catch {
    return ''
  }
}

/** What a node leaves on the machine besides processes, for tests and error messages. */
export function nodeTraces(record: NodeRecord): string[] {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => line.includes('/.sidecart/') && /overlay|tmpfs/.test(line))
  return [
    ...nodeProcesses(record).map(({ pid, name }) => `process ${pid} ${name}`),
    ...(linkExists(createNetwork(record.network.index)) ? [`link ${record.network.link}`] : []),
    ...cgroupFolders(record.cgroup).map((folder) => `cgroup ${folder}`),
    ...mounts.map((line) => `mount ${line}`),
  ]
}
