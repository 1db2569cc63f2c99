import { mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { ensureParts } from '../parts/ensure.ts'
import { poll } from '../poll.ts'
import { createPaths } from '../processes/paths.ts'
import type { Process } from '../processes/process.ts'
import { writePrivate } from '../processes/secrets.ts'
import { createProgress } from '../progress.ts'
import { endLeftovers, recordPids } from './leftovers.ts'
import { renderSupervisorConfig } from './process-compose-config.ts'
import { processStates, startProcess, startSupervisor, stopProject } from './process-compose.ts'

// How Jaeger joins a running shop. process-compose documents none of it.
test('a process that starts later holds nothing up, starts on request, and is stopped last', async () => {
  const paths = createPaths('test-supervisor')
  const stopped = join(paths.state, 'stopped')
  mkdirSync(paths.logs, { recursive: true })
  onTestFinished(async () => {
    await endLeftovers(paths)
    rmSync(paths.state, { recursive: true, force: true })
  })
  const program = (name: string, own: Partial<Process>, delay: number): Process => ({
    name,
    kind: 'server',
    // Each notes its name when it is stopped; a delay shows whether the other one waits for it.
    command: [
      'bash',
      '-c',
      `trap 'sleep ${delay}; echo ${name} >> ${stopped}; exit' TERM; while :; do sleep 0.1; done`,
    ],
    env: {},
    cwd: paths.state,
    ports: [],
    waitsFor: {},
    stopsBefore: [],
    stopSeconds: 5,
    ...own,
  })
  const processes = [
    program('collector', { startsLater: true }, 0),
    program('service', { stopsBefore: ['collector'] }, 0.5),
  ]
  writePrivate(paths.supervisorConfig, renderSupervisorConfig(processes, paths.logs))
  const supervisor = (await ensureParts(['process-compose'], createProgress()))['process-compose']
  const pid = startSupervisor(supervisor.from === 'address' ? '' : supervisor.path, paths)
  recordPids(paths.pids, [{ name: 'supervisor', pid }])

  const statusOf = async (name: string) =>
    (await processStates(paths)).find((state) => state.name === name)?.status ?? 'absent'
  const hasStatus = (name: string, status: string) =>
    poll(`${name} is ${status}`, async () => (await statusOf(name)) === status, { timeoutMs: 10_000 })

  await hasStatus('service', 'Running')
  expect(await statusOf('collector')).toBe('Disabled')
  await startProcess(paths, 'collector')
  await hasStatus('collector', 'Running')
  await stopProject(paths)
  expect(readFileSync(stopped, 'utf8')).toBe('service\ncollector\n')
})
