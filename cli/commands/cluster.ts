import { spawn } from 'node:child_process'
import Table from 'cli-table3'
import { podUrl, shopAccess } from '../../platform/cluster/access.ts'
import { attachCluster, startCluster, stopCluster, updateShop, type Cluster } from '../../platform/cluster/cluster.ts'
import { podMemory } from '../../platform/cluster/metrics.ts'
import { nodeProcesses } from '../../platform/cluster/node.ts'
import { createClusterPaths } from '../../platform/cluster/paths.ts'
import { isReady, readyContainers, waitsFor, type Pod } from '../../platform/cluster/pods.ts'
import { upInContext } from '../../platform/cluster/existing-cluster.ts'
import { root } from '../../platform/processes/paths.ts'
import { createProgress, duration, type Progress } from '../../platform/progress.ts'

const paths = createClusterPaths()

type UpOptions = { bare?: boolean; context?: string; overlay?: string }

/** Starts the cluster and the shop in it, or brings a running one up to date. */
export async function up({ bare = false, context, overlay }: UpOptions): Promise<void> {
  const began = Date.now()
  const progress = createProgress()
  if (context !== undefined) {
    console.log(await upInContext({ context, overlay }, paths, progress))
    progress.close()
    return
  }
  const wasRunning = attachCluster(paths) !== undefined
  // An interrupted start leaves nothing behind; one that already ran goes on.
  const stop = async (code: number) => {
    if (!wasRunning) await stopCluster(paths, { evenIfStarting: true })
    process.exit(code)
  }
  process.on('SIGINT', () => void stop(130))
  process.on('SIGTERM', () => void stop(143))
  const cluster = await startCluster(paths, { progress, bare })
  progress.close()
  await printWays(cluster, bare)
  console.log(`${cluster.reused ? 'Up to date' : 'Up'} in ${duration(Date.now() - began)}.`)
}

async function printWays(cluster: Cluster, bare: boolean): Promise<void> {
  const table = new Table({ style: { head: [], border: [] } })
  if (!bare) {
    const { api, login } = await shopAccess(cluster)
    table.push(
      ['API', `${api}/v1`],
      ['API docs', `${api}/docs`],
      ['Demo shopper', `${login.shopper.email}  ${login.shopper.password}`],
      ['Demo admin', `${login.admin.email}  ${login.admin.password}`],
      ['Products', 'npm run cluster -- seed --products 50 --users 5'],
      ["README's first order", `export API=${api} SIDECART_JAEGER=${await podUrl(cluster.kubectl, 'jaeger', 16686)}`],
    )
  }
  table.push(
    ['Pods', 'npm run cluster -- status'],
    ['kubectl', `npm run cluster -- kubectl get pods -n shop\nor: export KUBECONFIG=${paths.kubeconfig}`],
    ['After a change', 'npm run cluster -- load [IMAGE…]'],
    ['Tests', 'npm run cluster -- test'],
    ['Stop', 'npm run cluster -- down'],
  )
  console.log(table.toString())
}

/** Ends the cluster. Its images are kept for the next start, unless `purge`. */
export async function down({ purge = false }: { purge?: boolean }): Promise<void> {
  const began = Date.now()
  const stopped = await stopCluster(paths, { purge })
  console.log(stopped ? `The cluster is gone (${duration(Date.now() - began)}).` : 'No cluster runs.')
}

function running(): Cluster {
  const cluster = attachCluster(paths)
  if (!cluster) throw new Error('No cluster runs. `npm run cluster -- up` starts one.')
  return cluster
}

/** Builds images again and replaces the pods of those that changed. */
export async function load(images: string[]): Promise<void> {
  const cluster = running()
  const progress: Progress = createProgress()
  await updateShop(cluster, progress, images.length > 0 ? images : undefined)
  progress.close()
}

/** Prints nodes and pods. Exit code 1 when a pod is not ready. */
export async function status(): Promise<void> {
  const { kubectl, node } = running()
  const [nodes, { items: pods }, memory] = await Promise.all([
    kubectl(['get', 'nodes', '--output', 'wide']),
    kubectl.json<{ items: Pod[] }>(['get', 'pods', '--all-namespaces']),
    podMemory(kubectl),
  ])
  console.log(nodes)
  const table = new Table({
    head: ['namespace', 'pod', 'ready', 'state', 'restarts', 'memory'],
    style: { head: [], border: [], compact: true },
  })
  for (const pod of pods) {
    const { namespace, name } = pod.metadata
    const { ready, of, restarts } = readyContainers(pod)
    const state = isReady(pod) ? pod.status.phase : waitsFor(pod)
    const bytes = memory.get(`${namespace}/${name}`)
    table.push([namespace, name, `${ready}/${of}`, state, restarts, bytes === undefined ? '' : megabytes(bytes)])
  }
  const own = nodeProcesses(node).filter(({ isPod }) => !isPod)
  const total = [...memory.values()].reduce((sum, bytes) => sum + bytes, 0)
  console.log(
    `${table.toString()}\n${pods.length} pods, ${megabytes(total)}, and Kubernetes itself, ` +
      megabytes(own.reduce((sum, { rssBytes }) => sum + rssBytes, 0)),
  )
  if (!pods.every(isReady)) process.exitCode = 1
}

const megabytes = (bytes: number) => `${Math.round(bytes / 1_048_576)} MB`

/** Runs kubectl on this cluster, with its input, output and exit code. */
export function kubectl(args: string[]): Promise<void> {
  return run(running().kubectl.command, args)
}

/** Runs the tests of e2e/cluster in a cluster that is started if none runs, and stopped again. */
export function test(args: string[], { keep = false }: { keep?: boolean }): Promise<void> {
  const vitest = `${root}/node_modules/.bin/vitest`
  return run([vitest, 'run', '--project', 'cluster'], args, keep ? { CLUSTER_KEEP: '1' } : {})
}

function run([file = '', ...first]: string[], args: string[], env: NodeJS.ProcessEnv = {}): Promise<void> {
  return new Promise((resolve, reject) => {
    // The terminal sends Ctrl-C to the child too, which cleans up.
    process.on('SIGINT', () => {})
    const child = spawn(file, [...first, ...args], { stdio: 'inherit', cwd: root, env: { ...process.env, ...env } })
    child.once('error', reject)
    child.once('exit', (code) => {
      process.exitCode = code ?? 1
      resolve()
    })
  })
}
