// The extension, by the example of its README.
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { freePorts } from '../platform/free-ports.ts'
import { ensureParts } from '../platform/parts/ensure.ts'
import { poll } from '../platform/poll.ts'
import { root } from '../platform/processes/paths.ts'
import { createProgress } from '../platform/progress.ts'
import { startTilt, untilUp, type RunningTilt } from './running-tilt.ts'

const folder = mkdtempSync(join(tmpdir(), 'tilt-dapr-'))
const example = join(folder, 'dapr', 'example')
let tilt: RunningTilt
let sidecar: number

beforeAll(async () => {
  cpSync(join(root, 'tilt', 'dapr'), join(folder, 'dapr'), { recursive: true })
  mkdirSync(example, { recursive: true })
  writeFileSync(join(folder, 'package.json'), '{"type": "module"}')
  const [port = 0] = await freePorts(1)
  // Fixed in the example, chosen here: another program may listen on it.
  const tiltfile = join(example, 'Tiltfile')
  writeFileSync(tiltfile, readFileSync(tiltfile, 'utf8').replace('port = 3000', `port = ${port}`))
  sidecar = 20_000 + 4 * (port % 3181)
  const { daprd } = await ensureParts(['daprd'], createProgress())
  if (daprd.from === 'address') throw new Error('daprd is a program')
  tilt = await startTilt(example, { env: { DAPRD_BINARY: daprd.path } })
  await untilUp(tilt, 60_000)
}, 600_000)

afterAll(async () => {
  await tilt?.interrupt()
  rmSync(folder, { recursive: true, force: true })
})

async function greet(): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${sidecar}/v1.0/invoke/hello/method/`)
  if (!response.ok) throw new Error(`${response.status} ${await response.text()}`)
  return response.text()
}

it('the example has ten lines, and is the one in the README', () => {
  const [, ...lines] = readFileSync(join(root, 'tilt/dapr/example/Tiltfile'), 'utf8').trimEnd().split('\n')
  expect(lines.length).toBeLessThanOrEqual(10)
  const called = lines.join('\n').slice(lines.join('\n').indexOf('dapr_app('))
  expect(readFileSync(join(root, 'tilt/dapr/README.md'), 'utf8')).toContain(called)
})

it('an app is called through its sidecar, and calls it', async () => {
  expect(await greet()).toBe('Good morning, stranger')
})

it('an edit restarts the app, and its sidecar stays', async () => {
  const metadata = () => fetch(`http://127.0.0.1:${sidecar}/v1.0/metadata`).then((response) => response.json())
  const before = (await metadata()) as { runtimeVersion: string }
  const pid = await sidecarPid()
  const file = join(example, 'hello.js')
  writeFileSync(file, readFileSync(file, 'utf8').replace('stranger', 'friend'))
  await poll('the new answer', async () => (await greet()) === 'Good morning, friend', { timeoutMs: 10_000 })
  expect(await sidecarPid()).toBe(pid)
  expect(await metadata()).toMatchObject({ runtimeVersion: before.runtimeVersion })
})

async function sidecarPid(): Promise<number | undefined> {
  const { items } = JSON.parse(await tilt.call('get', 'cmds', '-o', 'json')) as { items: Cmd[] }
  return items.find(({ metadata }) => metadata.annotations['tilt.dev/resource'] === 'hello-dapr')?.status.running?.pid
}

type Cmd = { metadata: { annotations: Record<string, string> }; status: { running?: { pid: number } } }
