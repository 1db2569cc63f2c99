import { expect, test } from 'vitest'
import { parse } from 'yaml'
import { renderSupervisorConfig } from './process-compose-config.ts'
import type { Process } from '../processes/process.ts'

const sidecar: Process = {
  name: 'orders-dapr',
  kind: 'sidecar',
  command: ['/opt/daprd', '--app-id', 'orders'],
  env: { TOKEN: 'a$b', PEM: '-----BEGIN\nx\n-----END' },
  cwd: '/clone',
  ports: [1],
  health: { http: { port: 1, path: '/healthz', status: 204 } },
  waitsFor: { healthy: ['sentry'], done: ['setup'] },
  stopsBefore: ['jaeger'],
  stopSeconds: 7,
}
const setup: Process = { ...sidecar, name: 'setup', kind: 'task', waitsFor: {}, stopsBefore: [] }

function render(...processes: Process[]) {
  return parse(renderSupervisorConfig(processes, '/logs')) as { processes: Record<string, Record<string, never>> }
}

test('command and environment are passed on unchanged, without a shell', () => {
  const rendered = render(sidecar)
  expect(rendered).toMatchObject({ disable_env_expansion: true })
  expect(rendered.processes['orders-dapr']).toMatchObject({
    entrypoint: ['/opt/daprd', '--app-id', 'orders'],
    environment: ['TOKEN=a$b', 'PEM=-----BEGIN\nx\n-----END'],
    shutdown: { timeout_seconds: 7, signal: 15 },
  })
})

test('a process is stopped with the signal that it asks for', () => {
  const { processes } = render({ ...sidecar, stopSignal: 'SIGQUIT' })
  expect(processes['orders-dapr']).toMatchObject({ shutdown: { signal: 3 } })
})

test('a process does not depend on one that is not in the list', () => {
  expect(render(sidecar, setup).processes['orders-dapr']?.['depends_on']).toEqual({
    setup: { condition: 'process_completed_successfully' },
  })
})

test('a crashed process is always restarted, a failed task only a few times', () => {
  const { processes } = render(sidecar, setup)
  expect(processes['orders-dapr']).toMatchObject({ availability: { restart: 'always' } })
  expect(processes['setup']).toMatchObject({ availability: { restart: 'on_failure', max_restarts: 3 } })
})

test('a process that starts later is disabled, and is still stopped after those that stop before it', () => {
  const jaeger: Process = { ...setup, name: 'jaeger', kind: 'server', startsLater: true }
  const { processes } = render(sidecar, jaeger)
  expect(processes['jaeger']).toMatchObject({ disabled: true })
  expect(processes['orders-dapr']).toMatchObject({ depends_on: { jaeger: { condition: 'process_started' } } })
})
