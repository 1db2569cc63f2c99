// Checks k8s/ and the workflows without a cluster.
import { spawn } from 'node:child_process'
import { globSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseAllDocuments, stringify } from 'yaml'
import { kubernetesVersion } from '../../platform/cluster/parts.ts'
import { root } from '../../platform/processes/paths.ts'
import type { Progress } from '../../platform/progress.ts'
import { listBuilds, renderBuild, type Build } from './builds.ts'
import {
  findingsOfActionlint,
  findingsOfCheckov,
  findingsOfKubeconform,
  findingsOfKubeScore,
  type Finding,
} from './findings.ts'
import { ensureSchemas } from './schemas.ts'
import { ensureTools, type Tools } from './tools.ts'

export type LintResult = {
  builds: number
  findings: Finding[]
  /** What was left out, and why. */
  leftOut: string[]
}

/**
 * Builds every overlay, with each component too, and runs kubeconform, kube-score and checkov over
 * the result, and actionlint over the workflows. An exception stands beside its resource, as an
 * annotation with a reason: `kube-score/ignore`, `checkov.io/skip1`.
 * @throws Error when a linter cannot be had or started
 */
export async function lintKubernetes(progress: Progress, k8s = join(root, 'k8s')): Promise<LintResult> {
  const tools = await ensureTools(progress)
  const schemas = await ensureSchemas(progress)
  const work = join(root, '.sidecart', 'lint-k8s')
  rmSync(work, { recursive: true, force: true })
  mkdirSync(work, { recursive: true })
  const builds = listBuilds(k8s)
  const { rendered, findings } = await renderBuilds(tools, k8s, work, builds)
  const folder = writeDifferences(work, rendered)
  const found = await Promise.all([
    ...rendered.map((build) => kubeScore(tools, build)),
    kubeconform(tools, schemas, folder),
    checkov(tools, folder),
    actionlint(tools),
  ])
  return {
    builds: builds.length,
    findings: [...findings, ...found.flat()],
    leftOut: tools.checkov ? [] : ['checkov: there is no python3'],
  }
}

type Rendered = { build: Build; yaml: string }

async function renderBuilds(tools: Tools, k8s: string, work: string, builds: Build[]) {
  const findings: Finding[] = []
  const rendered: Rendered[] = []
  await inParallel(builds, async (build) => {
    try {
      rendered.push({ build, yaml: await renderBuild(tools.kustomize, k8s, join(work, 'builds'), build) })
    } catch (error) {
      const { message } = error as Error
      findings.push({ linter: 'kustomize', where: build.name, resource: 'kustomization', rule: 'build', message })
    }
  })
  return { rendered, findings }
}

async function kubeScore(tools: Tools, { build, yaml }: Rendered): Promise<Finding[]> {
  const args = [
    'score',
    '--output-format',
    'json',
    '--kubernetes-version',
    kubernetesVersion.replace(/^(\d+\.\d+).*/, 'v$1'),
    '-',
  ]
  // It ends with 1 when there are findings.
  const { stdout } = await capture([tools['kube-score'], ...args], { input: yaml, codes: [0, 1] })
  return findingsOfKubeScore(stdout).map((finding) => ({ ...finding, where: build.name }))
}

/**
 * Writes a file for each build. Of an overlay with a component it holds what differs from the
 * overlay alone: what was looked at once need not be again.
 */
function writeDifferences(work: string, rendered: Rendered[]): string {
  const folder = join(work, 'differences')
  mkdirSync(folder, { recursive: true })
  const documents = new Map(rendered.map(({ build, yaml }) => [build.name, documentsOf(yaml)]))
  for (const { build } of rendered) {
    const own = documents.get(build.name) ?? []
    const known = new Set(build.components.length > 0 ? documents.get(build.overlay) : [])
    const different = own.filter((document) => !known.has(document))
    if (different.length > 0) writeFileSync(join(folder, `${build.name}.yaml`), different.join('---\n'))
  }
  return folder
}

const documentsOf = (yaml: string) => parseAllDocuments(yaml).map((document) => stringify(document.toJS()))

/** One run over all builds: reading the schemas takes most of its time. */
async function kubeconform(tools: Tools, schemas: string, folder: string): Promise<Finding[]> {
  const args = ['-strict', '-output', 'json', '-schema-location', schemas, folder]
  const { stdout } = await capture([tools.kubeconform, ...args], { codes: [0, 1] })
  return findingsOfKubeconform(stdout)
}

/** One run over all builds: starting takes most of its time. */
async function checkov(tools: Tools, folder: string): Promise<Finding[]> {
  if (tools.checkov === undefined) return []
  const args = ['-d', folder, '--framework', 'kubernetes', '--skip-download', '--quiet', '--compact', '-o', 'json']
  // Else it skips the folder without a word, since a part of its path starts with a dot.
  const env = { ...process.env, CKV_IGNORE_HIDDEN_DIRECTORIES: 'false' }
  const { stdout } = await capture([...tools.checkov, ...args], { codes: [0, 1], env })
  return findingsOfCheckov(stdout)
}

async function actionlint(tools: Tools): Promise<Finding[]> {
  const files = globSync('.github/workflows/*.yml', { cwd: root })
  // Without shellcheck and pyflakes: whether they are installed must not decide.
  const args = ['-format', '{{json .}}', '-shellcheck=', '-pyflakes=', ...files]
  const { stdout } = await capture([tools.actionlint, ...args], { codes: [0, 1] })
  return findingsOfActionlint(stdout)
}

/** Runs the jobs two at a time. */
async function inParallel<T>(jobs: T[], work: (job: T) => Promise<void>): Promise<void> {
  const queue = [...jobs]
  const worker = async () => {
    for (let job = queue.shift(); job !== undefined; job = queue.shift()) await work(job)
  }
  await Promise.all([worker(), worker()])
}

function capture(
  [command = '', ...args]: string[],
  { input, codes, env = process.env }: { input?: string; codes: number[]; env?: NodeJS.ProcessEnv },
): Promise<{ stdout: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, env, stdio: ['pipe', 'pipe', 'pipe'] })
    let stdout = ''
    let stderr = ''
    child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()))
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
    child.on('error', reject)
    child.on('close', (code) => {
      if (code !== null && codes.includes(code) && stdout !== '') resolve({ stdout })
      else if (code === 0) resolve({ stdout })
      else reject(new Error(`${command} ended with ${code}: ${stderr.slice(-2_000)}${stdout.slice(-500)}`))
    })
    // A linter that fails at its start closes its input early; its exit code says why.
    child.stdin.on('error', () => {})
    child.stdin.end(input)
  })
}
