import { expect, it } from 'vitest'
import { publishedStaging, withoutLocalReplaces } from './parts.ts'

it("Kubernetes' folders become the modules that are published from them", () => {
  const goMod = `require (
	k8s.io/api v0.0.0
	k8s.io/klog/v2 v2.130.1
)
replace (
	k8s.io/api => ./staging/src/k8s.io/api
)`
  expect(publishedStaging(goMod)).toBe(`require (
	k8s.io/api v0.34.0
	k8s.io/klog/v2 v2.130.1
)
replace (
	k8s.io/api => k8s.io/api v0.34.0
)`)
})

it('replaces by folders go, others stay', () => {
  const goMod = `module x

go 1.24

replace (
	go.etcd.io/etcd/api/v3 => ../api
	go.etcd.io/etcd/pkg/v3 => ../pkg
)

replace a => ./a
replace b => c v1.0.0

require d v1.0.0
`
  const edited = withoutLocalReplaces(goMod)
  expect(edited).not.toMatch(/\.\//)
  expect(edited).not.toMatch(/replace \(/)
  expect(edited).toContain('replace b => c v1.0.0')
  expect(edited).toContain('require d v1.0.0')
})
