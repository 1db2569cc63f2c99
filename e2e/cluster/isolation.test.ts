// What a service that was taken over could reach: its own store and nothing else.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { root } from '../../platform/processes/paths.ts'
import { serviceNames } from '../../platform/processes/services.ts'
import { kubectl, kubectlJson, runIn } from './kubectl.ts'

const stores = ['users', 'catalog', 'inventory', 'orders', 'payments'].map((owner) => {
  const [document] = parseAllDocuments(readFileSync(join(root, 'components', owner, 'store.yaml'), 'utf8'))
  return { owner, name: (document!.toJS() as { metadata: { name: string } }).metadata.name }
})

/** Asks a service's own sidecar, as that service, and returns the status and the error's code. */
async function askSidecar(service: string, path: string, token = 'process.env.DAPR_API_TOKEN'): Promise<string> {
  const script = `
    const response = await fetch('http://127.0.0.1:' + process.env.DAPR_HTTP_PORT + '${path}',
      { headers: { 'dapr-api-token': ${token} } })
    const text = await response.text()
    console.log(response.status, text === '' ? '' : (JSON.parse(text).errorCode ?? ''))`
  return (await runIn(service, script)).trim()
}

describe.each(serviceNames)('%s', (service) => {
  it('reaches its own state store and no other', async () => {
    for (const { owner, name } of stores) {
      const answer = await askSidecar(service, `/v1.0/state/${name}/no-such-key`)
      if (owner === service) expect(`${name}: ${answer}`).toMatch(/: 20[04]\b/)
      else expect(`${name}: ${answer}`).toMatch(/: 400 ERR_STATE_STORE_NOT_(FOUND|CONFIGURED)$/)
    }
  }, 60_000)

  it('is refused by its sidecar without the token', async () => {
    expect(await askSidecar(service, '/v1.0/metadata', "'wrong'")).toMatch(/^401/)
  })

  it('has no service account token, no way to write outside /tmp, and is not root', async () => {
    const script = `
      import { existsSync, writeFileSync } from 'node:fs'
      function tryToWrite(file) {
        try { writeFileSync(file, ''); return 'written' } catch (error) { return error.code }
      }
      console.log(JSON.stringify({
        user: process.getuid(),
        token: existsSync('/var/run/secrets/kubernetes.io/serviceaccount/token'),
        root: tryToWrite('/x'), app: tryToWrite('/app/x'), temporary: tryToWrite('/tmp/x'),
      }))`
    const { user, ...rest } = JSON.parse(await runIn(service, script)) as Record<string, unknown>
    expect(user).toBeGreaterThan(0)
    expect(rest).toEqual({ token: false, root: 'EROFS', app: 'EROFS', temporary: 'written' })
  })

  it('consists of the containers that it should have, started in order, none of them restarted', async () => {
    const { items } = await kubectlJson(['get', 'pods', '-l', `app.kubernetes.io/name=${service}`])
    const pods = items.filter(({ metadata }) => metadata.deletionTimestamp === undefined)
    expect(pods.length).toBeGreaterThan(0)
    for (const { spec, status } of pods) {
      const sidecars = spec.initContainers.map(({ name }: { name: string }) => name) as string[]
      expect(sidecars.at(-1)).toBe('daprd')
      expect(spec.containers.map(({ name }: { name: string }) => name)).toEqual([service])
      const started = new Map<string, number>()
      for (const { name, restartCount, state } of [...status.initContainerStatuses, ...status.containerStatuses]) {
        expect(`${name} restarted ${restartCount} times`).toBe(`${name} restarted 0 times`)
        started.set(name, Date.parse(state.running.startedAt))
      }
      const order = [...sidecars, service].map((name) => started.get(name)!)
      expect(order).toEqual(order.toSorted((a, b) => a - b))
    }
  })
})

it('the cluster keeps no secret of the shop in a ConfigMap, a Component or a Deployment', async () => {
  const secrets = (await kubectlJson(['get', 'secrets'])).items.flatMap(({ data }) =>
    Object.values((data ?? {}) as Record<string, string>).map((value) => Buffer.from(value, 'base64').toString()),
  )
  // Only what is worth hiding: addresses are no secrets.
  const hidden = [...new Set(secrets.flatMap((value) => value.match(/[A-Za-z0-9_-]{30,}/g) ?? []))]
  expect(hidden.length).toBeGreaterThan(10)
  const kinds =
    'configmaps,components.dapr.io,configurations.dapr.io,httpendpoints.dapr.io,deployments,statefulsets,jobs,pods'
  const everything = await kubectl(['get', kinds, '-o', 'yaml'])
  expect(hidden.filter((secret) => everything.includes(secret))).toEqual([])
})
