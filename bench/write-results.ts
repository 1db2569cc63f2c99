import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../platform/processes/paths.ts'

/** Writes bench/results/<name>.{json,md,svg}: the report, its tables and its plot. */
export function writeResults(name: string, report: object, { markdown, svg }: { markdown: string; svg: string }): void {
  const folder = join(root, 'bench', 'results')
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, `${name}.json`), `${JSON.stringify(report, undefined, 2)}\n`)
  writeFileSync(join(folder, `${name}.md`), markdown)
  writeFileSync(join(folder, `${name}.svg`), svg)
}
