import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { createNetwork, dnsAddress } from './network.ts'
import { accountNames, nodeFiles, pauseImage, type Tokens } from './node-files.ts'
import { nodePrograms, type Programs } from './node-programs.ts'
import { clusterParts } from './parts.ts'
import { inside } from './paths.ts'

const network = createNetwork(3)
const tokens = Object.fromEntries(accountNames.map((name) => [name, `token-of-${name}`])) as Tokens
const files = nodeFiles(network, tokens, 'sidecart3')
const names = ['etcd', 'kube-apiserver', 'kube-controller-manager', 'kube-scheduler', 'kubelet', 'kube-proxy'] as const
const commands = nodePrograms(Object.fromEntries(names.map((name) => [name, `/bin/${name}`])) as Programs, network)

it('every file that a program is told to read is written', () => {
  const made = (file: string) => file.startsWith('pki/') || ['etcd', 'controller-manager'].includes(file)
  const told = commands.flatMap(({ command }) =>
    command.flatMap((flag) => [...flag.matchAll(new RegExp(`=${inside}/(.+)$`, 'g'))].map(([, file]) => file!)),
  )
  expect(told.length).toBeGreaterThan(10)
  expect(told.filter((file) => !made(file) && !(file in files) && file !== 'pki')).toEqual([])
})

it('each account has its own token, and only its own', () => {
  const lines = files['tokens.csv']!.trim().split('\n')
  expect(lines).toHaveLength(accountNames.length)
  for (const name of accountNames) {
    expect(lines.filter((line) => line.startsWith(`${tokens[name]},`))).toHaveLength(1)
    const kubeconfig = files[`${name}.kubeconfig`] ?? ''
    expect(Object.values(tokens).filter((token) => kubeconfig.includes(`"${token}"`))).toEqual([tokens[name]])
    expect(kubeconfig).toContain('https://10.80.3.1:6443')
  }
})

it('kubelet lets nobody in without a certificate and asks the API server what they may', () => {
  const kubelet = JSON.parse(files['kubelet.json']!) as Record<string, unknown>
  expect(kubelet).toMatchObject({
    authentication: { anonymous: { enabled: false } },
    authorization: { mode: 'Webhook' },
  })
})

it('containerd and the CNI know pause and the pods as the rest does', () => {
  expect(files['containerd.toml']).toContain(`sandbox_image = "${pauseImage}"`)
  expect(clusterParts.pause.cacheKey).toBe(`pause-${pauseImage.split(':')[1]}`)
  expect(files['cni/10-pods.conflist']).toContain(network.podSubnet)
})

it("CoreDNS's image is the version that is built, its address the one that pods are given", () => {
  const yaml = readFileSync(join(import.meta.dirname, 'manifests', 'coredns.yaml'), 'utf8')
  const version = clusterParts.coredns.cacheKey.replace('coredns-', '')
  expect(yaml).toContain(`registry.k8s.io/coredns/coredns:v${version}`)
  const service = parseAllDocuments(yaml).find((document) => document.get('kind') === 'Service')
  expect(service?.getIn(['spec', 'clusterIP'])).toBe(dnsAddress)
})
