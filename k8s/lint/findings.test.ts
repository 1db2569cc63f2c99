import { expect, it } from 'vitest'
import { describeFindings, findingsOfCheckov, findingsOfKubeconform, findingsOfKubeScore } from './findings.ts'

it('takes from kube-score what is critical or a warning, unless an annotation skips it', () => {
  const check = (id: string, grade: number, skipped = false) => ({ check: { id }, grade, skipped, comments: null })
  const checks = [check('critical', 1), check('warning', 5), check('fine', 10), check('excepted', 1, true)]
  const json = JSON.stringify([{ type_meta: { kind: 'Deployment' }, object_meta: { name: 'orders' }, checks }])
  expect(findingsOfKubeScore(json).map(({ resource, rule }) => `${resource} ${rule}`)).toEqual([
    'Deployment/orders critical',
    'Deployment/orders warning',
  ])
})

it('takes from kubeconform what is invalid and what has no schema', () => {
  const resource = (name: string, status: string) => ({ filename: 'stdin', kind: 'Pod', name, status, msg: '' })
  const resources = [resource('a', 'statusInvalid'), resource('b', 'statusError'), resource('c', 'statusValid')]
  expect(findingsOfKubeconform(JSON.stringify({ resources })).map(({ rule }) => rule)).toEqual(['invalid', 'error'])
})

it('does not take an empty run of checkov for a clean one', () => {
  expect(() => findingsOfCheckov('{"passed": 0, "failed": 0, "resource_count": 0}')).toThrow('no resources')
})

it('prints a finding once for all builds that have it', () => {
  const finding = { linter: 'checkov', resource: 'Pod/a', rule: 'CKV_1', message: 'no' } as const
  expect(describeFindings(['test', 'test+tls', 'local'].map((where) => ({ ...finding, where })))).toEqual([
    'test (and 2 more): Pod/a checkov/CKV_1: no',
  ])
})
