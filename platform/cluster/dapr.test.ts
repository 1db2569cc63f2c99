import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { parse } from 'yaml'
import { daprVersion } from '../parts/parts.ts'
import { root } from '../processes/paths.ts'
import { inOrder } from './dapr.ts'

it('the Configuration comes before the programs that read it', () => {
  const chart =
    '---\nkind: Deployment\nmetadata: {name: a}\n---\n# empty\n---\nkind: Configuration\nmetadata: {name: b}\n'
  const { first, rest } = inOrder(chart)
  expect(parse(first)).toEqual({ kind: 'Configuration', metadata: { name: 'b' } })
  expect(parse(rest)).toEqual({ kind: 'Deployment', metadata: { name: 'a' } })
})

it.each(['test', 'production'])(
  'values-%s.yaml names the version that is built, and keeps clear of the deadlock',
  (name) => {
    const values = parse(readFileSync(join(root, 'k8s', 'dapr', `values-${name}.yaml`), 'utf8')) as {
      global: { tag: string }
      dapr_sidecar_injector: {
        webhookFailurePolicy: string
        namespaceSelector: { matchExpressions: { operator: string; values: string[] }[] }
      }
    }
    expect(values.global.tag).toBe(daprVersion)
    const { webhookFailurePolicy, namespaceSelector } = values.dapr_sidecar_injector
    expect(webhookFailurePolicy).toBe('Fail')
    expect(namespaceSelector.matchExpressions).toEqual([
      expect.objectContaining({ operator: 'NotIn', values: ['kube-system', 'dapr-system'] }),
    ])
  },
)
