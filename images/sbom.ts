// The bill of materials of one image's npm packages, as CycloneDX JSON:
//   node images/sbom.ts orders > orders.cdx.json
// What it lists is what collect.ts copies, plus Node. Debian's packages are the base image's: a
// scanner reads them from the image (docs: images/README.md).
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { contentsOf, packageFolders, readManifest } from './collect.ts'

type Component = { 'bom-ref': string; type: string; name: string; version: string; purl: string; scope?: string }
type Sbom = {
  bomFormat: 'CycloneDX'
  specVersion: string
  serialNumber?: string
  metadata: { timestamp?: string; lifecycles: unknown[]; tools: unknown[]; component: Partial<Component> }
  components: Component[]
  dependencies: { ref: string; dependsOn?: string[] }[]
}

/**
 * Returns the bill of materials of an image, the same each time. It needs the packages of `npm ci`.
 * Throws Error when there is no such image, or when npm's list lacks a package of it.
 */
export async function sbomOf(root: string, name: string): Promise<Sbom> {
  const contents = contentsOf(root, name)
  const folders = packageFolders(root, contents.packages)
  // Without --omit=dev, which also drops what both programs and tests need: it left 132 of 243.
  const arguments_ = ['sbom', '--sbom-format', 'cyclonedx']
  const options = { cwd: root, maxBuffer: 1 << 26 }
  const all = JSON.parse((await promisify(execFile)('npm', arguments_, options)).stdout) as Sbom
  const idOf = (folder: string) => {
    const { name: packageName, version } = readManifest(join(root, folder))
    return `${packageName}@${version}`
  }
  const node = all.components.find((component) => component.name === 'node')
  const wanted = new Set([...folders.map(idOf), ...(node ? [node['bom-ref']] : [])])
  const components = all.components.filter((component) => wanted.has(component['bom-ref']))
  const found = new Set(components.map((component) => component['bom-ref']))
  const missing = [...wanted].filter((id) => !found.has(id))
  if (missing.length > 0 || !node) throw new Error(`npm sbom does not list ${missing.join(', ') || 'node'}: npm ci?`)
  const { version } = readManifest(root)
  const self = `sidecart/${name}@${version}`
  const direct = contents.packages.map((each) => idOf(join('node_modules', each)))
  const { serialNumber: _random, ...rest } = all
  const { timestamp: _now, ...metadata } = all.metadata
  return {
    ...rest,
    metadata: {
      ...metadata,
      lifecycles: [{ phase: 'build' }],
      component: { 'bom-ref': self, type: 'container', name: `sidecart/${name}`, version },
    },
    components: components.map((component) => ({ ...component, scope: 'required' })),
    dependencies: [
      { ref: self, dependsOn: [node['bom-ref'], ...direct] },
      ...all.dependencies
        .filter(({ ref }) => found.has(ref))
        .map(({ ref, dependsOn = [] }) => ({ ref, dependsOn: dependsOn.filter((each) => found.has(each)) })),
    ],
  }
}

if (import.meta.main) {
  const [name = ''] = process.argv.slice(2)
  if (!name) throw new Error('usage: node images/sbom.ts <image>')
  const sbom = await sbomOf(join(import.meta.dirname, '..'), name)
  process.stdout.write(`${JSON.stringify(sbom, undefined, 2)}\n`)
}
