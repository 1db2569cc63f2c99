// What is linted: each overlay as it is, and each overlay with each component that it leaves out.
import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import { promisify } from 'node:util'
import { parse } from 'yaml'

const run = promisify(execFile)

type Kustomization = {
  kind?: string
  metadata?: { annotations?: Record<string, string> }
  resources?: string[]
  components?: string[]
}

export type Build = {
  /** "production" or "production+keda" */
  name: string
  overlay: string
  /** Components added to the overlay, in their order. */
  components: string[]
}

/**
 * Lists the builds of a folder with `overlays/` and `components/`. A component whose kustomization
 * has the annotation `needs` (names of other components) is added after those; one that `conflicts`
 * with a component of the overlay is not added. An overlay of an overlay is built as it is.
 */
export function listBuilds(k8s: string): Build[] {
  const components = foldersOf(join(k8s, 'components'))
  return foldersOf(join(k8s, 'overlays')).flatMap((overlay) => {
    if (extendsAnother(join(k8s, 'overlays', overlay))) return [{ name: overlay, overlay, components: [] }]
    const included = includedComponents(join(k8s, 'overlays', overlay))
    const missing = (name: string) => !included.has(join(k8s, 'components', name))
    const added = components
      .filter(missing)
      .map((name) => [...annotation(join(k8s, 'components', name), 'needs').filter(missing), name])
      .filter((names) => names.flatMap((name) => annotation(join(k8s, 'components', name), 'conflicts')).every(missing))
    return [
      { name: overlay, overlay, components: [] },
      ...added.map((names) => ({ name: [overlay, names.at(-1)].join('+'), overlay, components: names })),
    ]
  })
}

function foldersOf(folder: string): string[] {
  if (!existsSync(folder)) return []
  return readdirSync(folder)
    .filter((name) => existsSync(join(folder, name, 'kustomization.yaml')))
    .toSorted()
}

const readKustomization = (folder: string) =>
  parse(readFileSync(join(folder, 'kustomization.yaml'), 'utf8')) as Kustomization

const annotation = (component: string, name: 'needs' | 'conflicts') =>
  (readKustomization(component).metadata?.annotations?.[name] ?? '').split(/[ ,]+/).filter(Boolean)

/** Such an overlay is built as it is: the other is built with each component. */
const extendsAnother = (overlay: string) =>
  (readKustomization(overlay).resources ?? []).some((name) => /^\.\.\/[^./]+$/.test(name))

/** The folders of all components that a kustomization includes, also by its resources. */
function includedComponents(folder: string, found = new Set<string>()): Set<string> {
  const { resources = [], components = [] } = readKustomization(folder)
  for (const name of components) found.add(resolve(folder, name))
  for (const name of [...resources, ...components]) {
    if (existsSync(join(folder, name, 'kustomization.yaml'))) includedComponents(resolve(folder, name), found)
  }
  return found
}

/**
 * Builds one of them with kustomize.
 * @param work an empty folder inside the clone: kustomize's paths are relative
 * @returns the YAML
 * @throws Error with what kustomize says
 */
export async function renderBuild(kustomize: string, k8s: string, work: string, build: Build): Promise<string> {
  const folder = join(work, build.name)
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  const path = (...names: string[]) => relative(folder, join(k8s, ...names))
  const kustomization = {
    resources: [path('overlays', build.overlay)],
    components: build.components.map((name) => path('components', name)),
  }
  writeFileSync(join(folder, 'kustomization.yaml'), JSON.stringify(kustomization))
  try {
    const { stdout } = await run(kustomize, ['build', folder], { maxBuffer: 64 * 1024 * 1024 })
    return stdout
  } catch (error) {
    throw new Error(`${build.name}: ${(error as { stderr?: string }).stderr ?? String(error)}`, { cause: error })
  }
}
