// The linters, each in the version with which k8s/ is free of findings.
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { ensureClusterParts, inPart } from '../../platform/cluster/parts.ts'
import { cacheFolder } from '../../platform/parts/cache.ts'
import { buildOnce } from '../../platform/parts/ensure.ts'
import { fromGo, type Recipe } from '../../platform/parts/recipes.ts'
import { runLogged } from '../../platform/parts/run-logged.ts'
import type { Progress } from '../../platform/progress.ts'

const goTools = {
  kubeconform: {
    module: 'github.com/yannh/kubeconform',
    version: 'v0.7.0',
    package: 'github.com/yannh/kubeconform/cmd/kubeconform',
    usualSeconds: 15,
  },
  'kube-score': {
    module: 'github.com/zegl/kube-score',
    version: 'v1.20.0',
    package: 'github.com/zegl/kube-score/cmd/kube-score',
    usualSeconds: 40,
  },
  actionlint: {
    module: 'github.com/rhysd/actionlint',
    version: 'v1.7.12',
    package: 'github.com/rhysd/actionlint/cmd/actionlint',
    usualSeconds: 15,
  },
} as const

type GoTool = keyof typeof goTools

const checkovVersion = '3.3.30'

export type Tools = Record<GoTool | 'kustomize', string> & {
  /** The command to which checkov's options are added. Absent where there is no Python. */
  checkov: string[] | undefined
}

/**
 * Builds or installs the linters that are not in the cache.
 * @throws Error when Go is missing or a build fails
 */
export async function ensureTools(progress: Progress): Promise<Tools> {
  await ensureClusterParts(['kustomize'], progress)
  const paths: Partial<Record<GoTool, string>> = {}
  for (const name of Object.keys(goTools) as GoTool[]) paths[name] = await ensureGoTool(name, progress)
  const kustomize = inPart('kustomize')
  return { ...(paths as Record<GoTool, string>), kustomize, checkov: await ensureCheckov(progress) }
}

async function ensureGoTool(name: GoTool, progress: Progress): Promise<string> {
  const { module, version, usualSeconds, ...program } = goTools[name]
  const cacheKey = `${name}-${version}`
  const file = join(cacheFolder(), cacheKey, name)
  if (!existsSync(file)) {
    const recipe = fromGo({ module, version, program, binary: name })
    await buildOnce({ title: name, cacheKey, recipe, usualSeconds }, progress)
  }
  return file
}

/** Installs checkov from PyPI into a virtual environment of its own, which nothing else sees. */
async function ensureCheckov(progress: Progress): Promise<string[] | undefined> {
  const python = pythonVersion()
  if (python === undefined) return undefined
  const cacheKey = `checkov-${checkovVersion}-python-${python}`
  const folder = join(cacheFolder(), cacheKey)
  if (!existsSync(folder)) {
    const recipe: Recipe = async (target, log) => {
      await runLogged(log, 'python3', ['-m', 'venv', target])
      const pip = ['-m', 'pip', 'install', '--quiet', '--no-compile', `checkov==${checkovVersion}`]
      await runLogged(log, join(target, 'bin', 'python'), pip)
    }
    await buildOnce({ title: 'checkov', cacheKey, recipe, usualSeconds: 40 }, progress)
  }
  // As a module: the scripts in bin/ name the folder in which they were installed.
  return [join(folder, 'bin', 'python'), '-m', 'checkov.main']
}

function pythonVersion(): string | undefined {
  try {
    const printed = execFileSync('python3', ['--version'], { encoding: 'utf8' })
    return /\d+\.\d+/.exec(printed)?.[0]
  } catch {
    return undefined
  }
}
