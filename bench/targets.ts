import { number, table } from './outbox-report.ts'

export type Target = { what: string; value: number; bar: number; unit: string; atMost: boolean; met: boolean }

/** Returns a value held against its bar, which it must reach or, `atMost`, not exceed. */
export const target = (what: string, value: number, bar: number, { unit = '', atMost = false } = {}): Target => ({
  what,
  value,
  bar,
  unit,
  atMost,
  met: atMost ? value <= bar : value >= bar,
})

/** Returns the targets as a table in Markdown. */
export const targetTable = (targets: Target[]): string =>
  table(
    ['', 'measured', 'target', ''],
    targets.map(({ what, value, bar, unit, atMost, met }) => [
      what,
      `${number(value)} ${unit}`.trim(),
      `at ${atMost ? 'most' : 'least'} ${bar.toLocaleString('en')} ${unit}`.trim(),
      met ? 'met' : '**missed**',
    ]),
  )
