import { spawn } from 'node:child_process'
import type { Command } from 'commander'
import Table from 'cli-table3'
import { attachCluster, startCluster, stopCluster, type Cluster } from '../../platform/cluster/cluster.ts'
import { nodeProcesses } from '../../platform/cluster/node.ts'
import { createClusterPaths } from '../../platform/cluster/paths.ts'
import { isReady, readyContainers, waitsFor, type Pod } from '../../platform/cluster/pods.ts'
import { createProgress, duration } from '../../platform/progress.ts'

const paths = createClusterPaths()

/** Adds `cluster up|down|status|kubectl`. */
export function register(program: Command): void {
  const cluster = program
    .command('cluster')
    .description('the shop in a real Kubernetes cluster: one node of its own, or a context that you name')

  cluster.command('up').description('start a one-node cluster with Dapr, unless it runs (Linux and root)').action(up)

  cluster.command('down').description('stop it; its images are kept for the next start').action(down)

  cluster.command('status').description('list nodes and pods, with restarts and memory').action(status)

  cluster
    .command('kubectl')
    .argument('[args...]')
    .description('kubectl for this cluster')
    .allowUnknownOption()
    .helpOption(false)
    .passThroughOptions()
    .action(kubectl)
}

async function up(): Promise<void> {
  const began = Date.now()
  const progress = createProgress()
  const stop = async (code: number) => {
    await stopCluster(paths)
    process.exit(code)
  }
  process.on('SIGINT', () => void stop(130))
  process.on('SIGTERM', () => void stop(143))
  const cluster = await startCluster(paths, progress)
  progress.close()
  printWays(cluster)
  console.log(cluster.reused ? 'It was already running.' : `Up in ${duration(Date.now() - began)}.`)
}

function printWays({ node: { network } }: Cluster): void {
  const table = new Table({ style: { head: [], border: [] } })
  table.push(
    ['kubectl', 'npm run cluster -- kubectl get pods -A'],
    ['or', `export KUBECONFIG=${paths.kubeconfig}`],
    ['NodePorts', `http://${network.nodeAddress}:<port>, pods in ${network.podSubnet}`],
    ['stop', 'npm run cluster -- down'],
  )
  console.log(table.toString())
}

async function down(): Promise<void> {
  const began = Date.now()
  const stopped = await stopCluster(paths)
  console.log(stopped ? `The cluster is gone (${duration(Date.now() - began)}).` : 'No cluster runs.')
}

function running(): Cluster {
  const cluster = attachCluster(paths)
  if (!cluster) throw new Error('No cluster runs. `npm run cluster -- up` starts one.')
  return cluster
}

async function status(): Promise<void> {
  const { kubectl, node } = running()
  const [nodes, pods] = await Promise.all([
    kubectl(['get', 'nodes']),
    kubectl.json<{ items: Pod[] }>(['get', 'pods', '--all-namespaces']),
  ])
  console.log(nodes)
  const table = new Table({
    head: ['namespace', 'pod', 'ready', 'state', 'restarts'],
    style: { head: [], border: [], compact: true },
  })
  for (const pod of pods.items) {
    const { ready, of, restarts } = readyContainers(pod)
    const state = isReady(pod) ? pod.status.phase : waitsFor(pod)
    table.push([pod.metadata.namespace, pod.metadata.name, `${ready}/${of}`, state, restarts])
  }
  const bytes = nodeProcesses(node).reduce((sum, { rssBytes }) => sum + rssBytes, 0)
  console.log(`${table.toString()}\n${Math.round(bytes / 1_048_576)} MB in all processes`)
  if (!pods.items.every(isReady)) process.exitCode = 1
}

function kubectl(args: string[]): Promise<void> {
  const [file = '', ...flags] = running().kubectl.command
  return new Promise((resolve, reject) => {
    const child = spawn(file, [...flags, ...args], { stdio: 'inherit' })
    child.once('error', reject)
    child.once('exit', (code) => {
      process.exitCode = code ?? 1
      resolve()
    })
  })
}
