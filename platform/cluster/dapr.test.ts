import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { parse } from 'yaml'
import { daprVersion } from '../parts/parts.ts'
import { root } from '../processes/paths.ts'
import { inOrder } from './dapr.ts'
import { splitByDapr, type Resource } from './resources.ts'

const resource = (kind: string, rest: Partial<Resource> = {}): Resource => ({
  apiVersion: 'v1',
  kind,
  metadata: { name: kind.toLowerCase() },
  ...rest,
})

it('a chart is sorted into its Configuration, its programs and its webhook', () => {
  const kinds = ['Deployment', 'Configuration', 'MutatingWebhookConfiguration', 'Service']
  const chart = `# first\n---\n${kinds.map((kind) => JSON.stringify(resource(kind))).join('\n---\n# empty\n---\n')}`
  expect(inOrder(chart)).toEqual({
    configuration: [resource('Configuration')],
    programs: [resource('Deployment'), resource('Service')],
    webhooks: [resource('MutatingWebhookConfiguration')],
  })
})

it('what has a sidecar or is checked by Dapr waits for Dapr, and nothing else', () => {
  const annotated = (annotations: Record<string, string>) =>
    resource('Deployment', { apiVersion: 'apps/v1', spec: { template: { metadata: { annotations } } } })
  const withSidecar = annotated({ 'dapr.io/enabled': 'true' })
  const without = annotated({ 'dapr.io/enabled': 'false' })
  const subscription = resource('Subscription', { apiVersion: 'dapr.io/v2alpha1' })
  const service = resource('Service')
  expect(splitByDapr([withSidecar, without, subscription, service])).toEqual({
    first: [without, service],
    rest: [withSidecar, subscription],
  })
})

type Values = {
  global: { tag: string }
  dapr_sidecar_injector: {
    webhookFailurePolicy: string
    namespaceSelector: { matchExpressions: { operator: string; values: string[] }[] }
  }
}

it.each(['test', 'production'])('values-%s.yaml names the version that is built, and avoids the deadlock', (name) => {
  const text = readFileSync(join(root, 'k8s', 'dapr', `values-${name}.yaml`), 'utf8')
  const { global, dapr_sidecar_injector: injector } = parse(text) as Values
  expect(global.tag).toBe(daprVersion)
  expect(injector.webhookFailurePolicy).toBe('Fail')
  expect(injector.namespaceSelector.matchExpressions).toEqual([
    expect.objectContaining({ operator: 'NotIn', values: ['kube-system', 'dapr-system'] }),
  ])
})
