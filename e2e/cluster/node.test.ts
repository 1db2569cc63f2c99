// The node itself: it is a real one, apart from the machine, and leaves nothing behind.
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { runKubectl } from '../../platform/cluster/kubectl.ts'
import { nodeTraces, runningNode, startNode, stopNode } from '../../platform/cluster/node.ts'
import { createClusterPaths } from '../../platform/cluster/paths.ts'
import { poll } from '../../platform/poll.ts'
import { root } from '../../platform/processes/paths.ts'

const json = async <T>(...args: string[]) => JSON.parse(await runKubectl([...args, '--output', 'json'])) as T

/** Runs a command in the gateway's pod, which has Node.js and nothing of the machine. */
const inPod = (...command: string[]) =>
  runKubectl(['exec', 'deployment/gateway', '--namespace', 'shop', '--container', 'gateway', '--', ...command])

it('the node is Ready, with every condition as it should be', async () => {
  type Node = { status: { conditions: { type: string; status: string }[]; nodeInfo: { kubeletVersion: string } } }
  const { items } = await json<{ items: Node[] }>('get', 'nodes')
  expect(items).toHaveLength(1)
  const conditions = items[0]!.status.conditions.filter(({ status }) => status === 'True')
  expect(conditions.map(({ type }) => type)).toEqual(['Ready'])
  expect(items[0]!.status.nodeInfo.kubeletVersion).toMatch(/^v1\.34\./)
})

it("a pod resolves a Service's name by the cluster's DNS", async () => {
  type Service = { spec: { clusterIP: string } }
  const { spec } = await json<Service>('get', 'service', 'users', '--namespace', 'shop')
  const lookup = `require('dns').lookup('users.shop.svc.cluster.local', (error, ip) => console.log(error ?? ip))`
  expect((await inPod('node', '-e', lookup)).trim()).toBe(spec.clusterIP)
})

it("a pod sees nothing of the machine's files", async () => {
  const files = [root, process.execPath, createClusterPaths().kubeconfig]
  expect(files.every((file) => existsSync(file))).toBe(true)
  const script = `console.log(JSON.stringify(${JSON.stringify(files)}.map((f) => require('fs').existsSync(f))))`
  expect(JSON.parse(await inPod('node', '-e', script))).toEqual(files.map(() => false))
})

it('a pod that asks for a folder of the machine is refused', async () => {
  const pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'burglar', namespace: 'shop' },
    spec: {
      containers: [
        { name: 'burglar', image: 'sidecart/gateway', volumeMounts: [{ name: 'machine', mountPath: '/m' }] },
      ],
      volumes: [{ name: 'machine', hostPath: { path: '/' } }],
    },
  }
  await expect(runKubectl(['create', '--filename', '-'], JSON.stringify(pod))).rejects.toThrow(
    /violates PodSecurity.*hostPath/,
  )
})

it('metrics-server has figures of every pod', async () => {
  await poll('figures', async () => (await runKubectl(['top', 'pods', '--namespace', 'shop'])).includes('gateway'))
})

describe('a second cluster beside it', () => {
  const settings = ['vm/overcommit_memory', 'vm/panic_on_oom', 'kernel/panic', 'kernel/panic_on_oops'].map(
    (name) => `/proc/sys/${name}`,
  )
  const settingsNow = () => settings.map((file) => readFileSync(file, 'utf8'))
  const ruleset = () => execFileSync('nft', ['list', 'ruleset'], { encoding: 'utf8' })

  it('becomes Ready in a network of its own, changes nothing of the machine, and leaves nothing', async () => {
    const paths = createClusterPaths('cluster-test')
    const before = { settings: settingsNow(), rules: ruleset() }
    const node = await startNode(paths)
    try {
      expect(node.network.nodeAddress).not.toBe(runningNode(createClusterPaths())?.network.nodeAddress)
      const kubectl = (...args: string[]) => runKubectl(['--kubeconfig', paths.kubeconfig, ...args])
      const isReady = async () => / Ready /.test(await kubectl('get', 'nodes'))
      await poll('the second node is Ready', isReady, { timeoutMs: 60_000, isFatal: () => !runningNode(paths) })
      expect(nodeTraces(node).length).toBeGreaterThan(8)
      expect({ settings: settingsNow(), rules: ruleset() }).toEqual(before)
    } finally {
      await stopNode(paths)
    }
    expect(nodeTraces(node)).toEqual([])
    expect({ settings: settingsNow(), rules: ruleset() }).toEqual(before)
    expect([paths.node, paths.record, paths.kubeconfig].filter((path) => existsSync(path))).toEqual([])
    // The first one does not notice.
    expect(await runKubectl(['get', '--raw', '/readyz'])).toBe('ok')
  })

  it('ends as a whole when one process of it is killed', async () => {
    const paths = createClusterPaths('cluster-test')
    const node = await startNode(paths)
    try {
      await poll('its programs run', () => nodeTraces(node).some((trace) => trace.includes('kube-apiserver')))
      process.kill(node.supervisor.pid, 'SIGKILL')
      await poll('all of it ends', () => !nodeTraces(node).some((trace) => trace.startsWith('process')))
    } finally {
      await stopNode(paths)
    }
    expect(nodeTraces(node)).toEqual([])
  })
})
