// The rules of k8s/components/monitors, by Prometheus' own promtool.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { parse, stringify } from 'yaml'
import { root } from '../../platform/processes/paths.ts'
import { ensurePrometheus } from './prometheus-programs.ts'

const folder = mkdtempSync(join(tmpdir(), 'alerts-'))
let promtool: string

beforeAll(async () => {
  promtool = (await ensurePrometheus()).promtool
  for (const name of ['slo', 'alerts']) {
    const { spec } = parse(readFileSync(join(root, 'k8s', 'components', 'monitors', `${name}.yaml`), 'utf8')) as {
      spec: object
    }
    writeFileSync(join(folder, `${name}.yaml`), stringify(spec))
  }
})

afterAll(() => rmSync(folder, { recursive: true }))

const rules = ['slo.yaml', 'alerts.yaml']

it('are valid', () => {
  const printed = execFileSync(promtool, ['check', 'rules', ...rules], { cwd: folder, encoding: 'utf8' })
  expect(printed).toContain('SUCCESS: 20 rules found')
})

const series = (name: string, labels: string) => `${name}{namespace="shop",service="gateway",${labels}}`

/** Which alerts fire after an hour. */
function firing(input_series: { series: string; values: string }[], names: string[]) {
  const exp = (alertname: string) => ({ eval_time: '70m', alertname, exp_alerts: [] })
  const tests = [{ interval: '1m', input_series, alert_rule_test: names.map(exp) }]
  writeFileSync(join(folder, 'test.yaml'), stringify({ rule_files: rules, evaluation_interval: '1m', tests }))
  try {
    execFileSync(promtool, ['test', 'rules', 'test.yaml'], { cwd: folder, encoding: 'utf8', stdio: 'pipe' })
    return []
  } catch (error) {
    // It prints each alert that it did not expect.
    const { stdout, stderr } = error as { stdout: string; stderr: string }
    return names.filter((name) => new RegExp(`alertname: ${name},`).test(stdout + stderr))
  }
}

const all = [
  'GatewayErrorsBurnFast',
  'GatewayErrorsBurn',
  'GatewaySlowBurnFast',
  'OutboxBacklog',
  'OutboxWithoutLeader',
]
const outbox = (age: string, leader: string) => [
  { series: 'outbox_oldest_row_age_seconds{namespace="shop",service="orders",component="orders-store"}', values: age },
  { series: 'outbox_leader{namespace="shop",pod="a",component="orders-store"}', values: leader },
  { series: 'outbox_leader{namespace="shop",pod="b",component="orders-store"}', values: '0x80' },
]

it('are silent in a shop that works', () => {
  const requests = [
    { series: series('http_server_duration_seconds_count', 'status="200"'), values: '0+6000x80' },
    { series: series('http_server_duration_seconds_count', 'status="503"'), values: '0+5x80' },
    { series: series('http_server_duration_seconds_bucket', 'le="0.5"'), values: '0+6000x80' },
  ]
  expect(firing([...requests, ...outbox('1x80', '1x80')], all)).toEqual([])
})

it('page when requests fail or are slow, and when events wait', () => {
  const requests = [
    { series: series('http_server_duration_seconds_count', 'status="200"'), values: '0+6000x80' },
    { series: series('http_server_duration_seconds_count', 'status="503"'), values: '0+120x80' },
    { series: series('http_server_duration_seconds_bucket', 'le="0.5"'), values: '0+4800x80' },
  ]
  expect(firing([...requests, ...outbox('0+60x80', '0x80')], all)).toEqual([
    'GatewayErrorsBurnFast',
    'GatewayErrorsBurn',
    'GatewaySlowBurnFast',
    'OutboxBacklog',
    'OutboxWithoutLeader',
  ])
})
