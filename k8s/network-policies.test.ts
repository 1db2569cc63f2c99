// Who may connect is who may call: the NetworkPolicies against Dapr's access control. Against the
// connections of a shop in a cluster: e2e/cluster/connections.test.ts.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { parse, parseAllDocuments } from 'yaml'
import { namespace, serviceNames } from '../platform/processes/services.ts'
import { allowedConnections, type Allowed, type NetworkPolicy, type Pod } from './network-policies.ts'

const root = join(import.meta.dirname, '..')
const read = (file: string) => readFileSync(join(root, file), 'utf8')

type Configuration = { spec: { accessControl: { policies?: { appId: string }[] } } }

const callers = (callee: string) =>
  (parse(read(`dapr-config/${callee}/access.yaml`)) as Configuration).spec.accessControl.policies ?? []

test('sidecars may connect where their services may call, and nowhere else', () => {
  const policies = parseAllDocuments(read('k8s/components/network-policy/services.yaml')).map((document) => {
    const policy = document.toJS() as NetworkPolicy
    return { ...policy, metadata: { ...policy.metadata, namespace } }
  })
  const pods = serviceNames.map((name): Pod => ({ name, namespace, labels: { 'app.kubernetes.io/name': name } }))
  const { egress, ingress } = allowedConnections(policies, pods, new Map())
  const name = (end: Pod | 'outside') => (end === 'outside' ? end : end.name)
  // daprd's port for other sidecars.
  const pairs = (allowed: Allowed[]) =>
    allowed.filter(({ port }) => port === 50_002).map(({ from, to }) => `${name(from)} -> ${name(to)}`)
  const calls = serviceNames.flatMap((callee) => callers(callee).map(({ appId }) => `${appId} -> ${callee}`))

  expect(calls.length).toBeGreaterThan(5)
  expect(pairs(ingress).toSorted()).toEqual(calls.toSorted())
  expect(pairs(egress).toSorted()).toEqual(calls.toSorted())
})
