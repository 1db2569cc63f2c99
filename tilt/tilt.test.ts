// `tilt up` runs the shop and takes up edits, on a copy of this clone.
import { execFile } from 'node:child_process'
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { poll } from '../platform/poll.ts'
import { importedFolders } from '../platform/processes/imports.ts'
import { createPaths, type Paths } from '../platform/processes/paths.ts'
import { createPorts, type Ports } from '../platform/processes/ports.ts'
import { serviceNames } from '../platform/processes/services.ts'
import { findLeftovers } from '../platform/supervise/leftovers.ts'
import { freePortBase } from '../platform/supervise/instance.ts'
import { tiltStates } from '../platform/supervise/tilt.ts'
import { copyClone, startTilt, untilUp, type RunningTilt } from './running-tilt.ts'

let copy: string
let env: NodeJS.ProcessEnv
let paths: Paths
let ports: Ports
let tilt: RunningTilt

beforeAll(async () => {
  copy = await copyClone('tilt-test')
  const base = await freePortBase(createPaths('tilt', copy))
  env = { PORT_BASE: String(base) }
  paths = createPaths(String(base), copy)
  ports = createPorts(base)
  tilt = await startTilt(copy, { env })
  await untilUp(tilt)
})

afterAll(async () => {
  await tilt?.interrupt()
  rmSync(copy, { recursive: true, force: true })
})

/** As `poll`, with the end of Tilt's log when it takes too long. */
function until(what: string, attempt: () => Promise<unknown> | unknown, timeoutMs = 100_000): Promise<unknown> {
  return poll(what, async () => (await attempt()) || undefined, { timeoutMs, intervalMs: 100 }).catch(
    (error: Error) => {
      throw new Error(`${error.message}\n${tilt.output().slice(-4_000)}`, { cause: error })
    },
  )
}

const edited = new Map<string, string>()

/** Changes a file of the copy until the test ends. */
function edit(file: string, from: string | RegExp, to: string): void {
  const path = join(copy, file)
  const before = readFileSync(path, 'utf8')
  const after = before.replace(from, to)
  if (after === before) throw new Error(`${file} does not contain ${String(from)}`)
  if (!edited.has(path)) edited.set(path, before)
  writeFileSync(path, after)
}

function undo(): void {
  for (const [path, content] of edited) writeFileSync(path, content)
  edited.clear()
}

/** What a test's edits restart, and so their undoing. */
let restarts: string[] = []

afterEach(async () => {
  if (edited.size > 0) {
    const before = await pids()
    undo()
    await until(`${restarts.join(', ')} restart`, async () => {
      const now = await changed(before)
      return restarts.every((name) => now.includes(name))
    })
    await untilUp(tilt)
    await until('the API answers', answers)
  }
  restarts = []
})

/** Past the edge's cache, which is not for requests with a cookie. */
const api = (path: string) => fetch(`http://127.0.0.1:${ports.api}${path}`, { headers: { cookie: 'uncached=1' } })
/** Catalog answers: lists of products come from search as well. */
const answers = async () => (await api('/v1/categories?limit=1')).status === 200
const unknownProduct = async () => ((await (await api('/v1/products/none')).json()) as { detail: string }).detail

async function pids(): Promise<Map<string, number>> {
  return new Map((await tiltStates(paths)).map(({ name, pid }) => [name, pid]))
}

/** Returns the processes that run with another pid than before. */
async function changed(before: Map<string, number>): Promise<string[]> {
  return [...(await pids())]
    .filter(([name, pid]) => pid !== 0 && pid !== before.get(name))
    .map(([name]) => name)
    .toSorted()
}

async function runtimeOf(name: string): Promise<string | undefined> {
  return (await tilt.resources()).get(name)?.runtime
}

/** Runs a command of the clone, such as `npm run status`. @returns its exit code and output */
async function command(...args: string[]): Promise<{ code: number; output: string }> {
  const run = promisify(execFile)(join(copy, 'node_modules', '.bin', 'node'), ['cli/main.ts', ...args], {
    cwd: copy,
    env: { ...process.env, ...env },
  })
  return run.then(
    ({ stdout, stderr }) => ({ code: 0, output: stdout + stderr }),
    (error: { code: number; stdout: string; stderr: string }) => ({
      code: error.code,
      output: error.stdout + error.stderr,
    }),
  )
}

it('every process of the shop is a resource, labelled by its service', async () => {
  const resources = await tilt.resources()
  for (const { name, namespace } of await tiltStates(paths)) {
    expect({ name, ...resources.get(name) }).toMatchObject({ name, runtime: 'ok' })
    if (namespace === 'server') expect(resources.get(name)?.labels).toEqual(['servers'])
  }
  expect(resources.get('orders-outbox-mysql')?.labels).toEqual(['orders'])
  expect(resources.get('orders-dapr')?.labels).toEqual(['orders'])
})

it('status and seed work as with npm start, which refuses to start a second time', async () => {
  expect(await command('status')).toMatchObject({ code: 0 })
  await tilt.click('nav-seed')
  await until('the seed is done', () => tilt.output().includes('products created'))
  await until('the products are found', async () => {
    const { items } = (await (await api('/v1/products')).json()) as { items: unknown[] }
    return items.length > 10
  })
  const second = await command('start', '--detach')
  expect(second).toMatchObject({ code: 1 })
  expect(second.output).toContain('already runs this shop')
})

it('Tilt knows no secret', async () => {
  const secrets = strings(JSON.parse(readFileSync(paths.secrets, 'utf8')))
  expect(secrets.length).toBeGreaterThan(20)
  const shown = [
    tilt.output(),
    await tilt.call('get', 'cmds', '-o', 'json'),
    await tilt.call('dump', 'engine'),
    await (await fetch(`http://127.0.0.1:${tilt.port}/api/view`)).text(),
  ]
  for (const text of shown) expect(secrets.filter((secret) => text.includes(secret))).toEqual([])
})

function strings(value: unknown): string[] {
  return typeof value === 'string' ? [value] : Object.values(value as object).flatMap(strings)
}

it('an edit of a service is answered within 2 s, by a new process beside the same sidecar', async () => {
  restarts = ['catalog']
  const times: number[] = []
  for (const words of ['no such product', 'never heard of it', 'what product?']) {
    const before = await pids()
    const started = performance.now()
    edit('services/catalog/product-store.ts', /'product_not_found', '[^']*'/, `'product_not_found', '${words}'`)
    await until('the new answer', async () => (await unknownProduct()) === words, 30_000)
    times.push(performance.now() - started)
    await untilUp(tilt)
    expect(await changed(before)).toEqual(['catalog'])
  }
  // The best of three: other programs use the machine too.
  expect(Math.min(...times)).toBeLessThan(2_000)
})

it('an edit of a test restarts nothing', async () => {
  restarts = ['users']
  const before = await pids()
  edit('services/catalog/attributes.test.ts', /$/, '// edited\n')
  // Something that Tilt does take up, later.
  edit('services/users/main.ts', /$/, '// edited\n')
  await until('users restarts', async () => (await changed(before)).includes('users'))
  expect(await changed(before)).toEqual(['users'])
})

it('an edit in lib restarts the services and what else is made of it, and no sidecar', async () => {
  const before = await pids()
  const standIns = ['mailbox', 'payment-sandbox']
  edit('lib/errors.ts', /$/, '// edited\n')
  restarts = (await tiltStates(paths))
    .filter(({ name, namespace }) => ['service', 'component'].includes(namespace) || standIns.includes(name))
    .map(({ name }) => name)
    .toSorted()
  await until('all of them restart', async () => (await changed(before)).join() === restarts.join())
  await untilUp(tilt)
  await until('the API answers', answers)
})

it('an edit of a proto generates code and restarts who uses it', async () => {
  const before = await pids()
  edit('protos/shop/catalog/v1/catalog.proto', '  string handle = 2;', '  string handle = 2;\n  string colour = 12;')
  const generated = join(copy, 'protos/gen/shop/catalog/v1/catalog.ts')
  await until('code is generated', () => readFileSync(generated, 'utf8').includes('colour'))
  restarts = serviceNames
    .filter((name) => importedFolders(`services/${name}/main.ts`, copy).includes('protos/gen/shop/catalog/v1'))
    .toSorted()
  expect(restarts).toContain('gateway')
  expect(restarts).not.toContain('users')
  await until('they restart', async () => (await changed(before)).join() === restarts.join())
})

it('an edit of a Component acts without a restart', async () => {
  // Without search, lists of products come from catalog, by its component catalog-query.
  await tilt.click('search-stop')
  const listed = async () => (await api('/v1/products?limit=1')).status
  const degraded = async () => ((await (await api('/v1/products?limit=1')).json()) as { degraded?: boolean }).degraded
  await until('products come from catalog', degraded)
  const before = await pids()
  edit('components/catalog/query.yaml', 'name: catalog-query', 'name: catalog-other')
  await until('products cannot be listed', async () => (await listed()) >= 500)
  undo()
  await until('products are listed', async () => (await listed()) === 200)
  expect(await changed(before)).toEqual([])
  await tilt.call('enable', 'search')
  await until('products come from search', async () => (await degraded()) === false)
})

it('an edit of access control acts without a restart', async () => {
  const before = await pids()
  edit('dapr-config/catalog/access.yaml', /appId: gateway/g, 'appId: nobody')
  await until('the gateway may not call', async () => !(await answers()))
  undo()
  await until('the gateway may call again', answers)
  expect(await changed(before)).toEqual([])
})

it('a broken file is an error in Tilt, with the reason in the log, until it is mended', async () => {
  const before = await pids()
  edit('services/catalog/main.ts', /$/, 'this is no code(\n')
  await until('Tilt shows an error', async () => (await runtimeOf('catalog')) === 'error')
  expect(tilt.output()).toContain('ERR_INVALID_TYPESCRIPT_SYNTAX')
  undo()
  await until('Tilt shows it as up', async () => (await runtimeOf('catalog')) === 'ok')
  await until('the API answers', answers)
  expect(await changed(before)).toEqual(['catalog'])
})

it('a process that is killed by its button is started again', async () => {
  const before = await pids()
  await tilt.click('orders-kill')
  await until('it runs again', async () => (await changed(before)).includes('orders'))
  await untilUp(tilt)
})

it('a process that is stopped by its button stays stopped until it is enabled', async () => {
  await tilt.click('catalog-stop')
  await until('it is disabled', async () => (await tilt.resources()).get('catalog')?.disabled)
  await until('the API says so', async () => (await api('/v1/categories?limit=1')).status === 503)
  await tilt.call('enable', 'catalog')
  await until('the API answers', answers)
})

it('reset empties the shop, which runs on', async () => {
  await tilt.click('nav-reset')
  await until('the shop is empty', async () => tilt.output().includes('The shop is empty.'), 220_000)
  await untilUp(tilt)
  await until('nothing is listed', async () => {
    const answer = await api('/v1/products')
    return answer.status === 200 && ((await answer.json()) as { items: unknown[] }).items.length === 0
  })
}, 300_000)

it('Ctrl-C ends every process, in order', async () => {
  await tilt.interrupt()
  await until('every process has ended', () => findLeftovers(paths).length === 0, 30_000)
  // Kafka was still there when the sidecars left their consumer groups.
  for (const name of serviceNames) {
    const log = readFileSync(join(paths.logs, `${name}-dapr.log`), 'utf8')
    expect(log.slice(log.lastIndexOf("Received signal 'terminated'"))).toContain('Dapr runtime stopped')
  }
  expect(existsSync(paths.supervisorSocket)).toBe(false)
})

it('tilt ci runs end-to-end tests and ends with exit code 0', async () => {
  // One of them stops a process and starts it again, for which Tilt must not wait until they end.
  const e2e = 'e2e/order.test.ts e2e/outage.test.ts -t stock|store'
  const ci = await startTilt(copy, { command: 'ci', env, args: ['--', '--e2e', e2e] })
  const { code } = await ci.child.ended
  expect(ci.output().slice(-3_000)).toContain('SUCCESS')
  expect(code).toBe(0)
  await until('every process has ended', () => findLeftovers(paths).length === 0, 30_000)
}, 400_000)
