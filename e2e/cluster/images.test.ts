// The images themselves: what is in them and what is not, and that they are the same each time.
// That they run, with the user and the read-only file system of their pods, all other tests show.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readConfig, readManifest, type ImageArchive, type OciConfig } from '../../platform/cluster/images/archive.ts'
import { ensureImages } from '../../platform/cluster/images/images.ts'
import { digestOfNewBuild, sbomFile } from '../../platform/cluster/images/project.ts'
import { root } from '../../platform/processes/paths.ts'
import { createProgress } from '../../platform/progress.ts'

const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
  packages: Record<string, { version: string; dev?: boolean }>
}
const names = ['gateway', 'orders', 'outbox-mongodb', 'payment-sandbox', 'setup', 'edge']

/** The files of an image's own layers, without those of its base. */
function filesOf(image: ImageArchive): string[] {
  const below = new Set((image.base ? readManifest(image.base).layers : []).map(({ digest }) => digest))
  const own = readManifest(image).layers.filter(({ digest }) => !below.has(digest))
  return own.flatMap(({ digest, mediaType }) => {
    const blob = `./blobs/${digest.replace(':', '/')}`
    const layer = execFileSync('tar', ['--extract', '--to-stdout', '--file', image.archive, blob], {
      maxBuffer: 1 << 28,
    })
    const gzip = mediaType.endsWith('+gzip') ? ['--gzip'] : []
    return execFileSync('tar', ['--list', ...gzip, '--file', '-'], {
      input: layer,
      encoding: 'utf8',
      maxBuffer: 1 << 26,
    })
      .split('\n')
      .map((name) => name.replace(/^\.\//, ''))
      .filter((name) => name !== '' && !name.endsWith('/'))
  })
}

describe.each(names)('the image of %s', (name) => {
  let config: OciConfig
  let files: string[]
  let image: ImageArchive

  beforeAll(async () => {
    const progress = createProgress()
    ;[image] = (await ensureImages([name], progress)) as [ImageArchive]
    progress.close()
    config = readConfig(image)
    files = filesOf(image)
  }, 600_000)

  it('runs as a user other than root, and says what it is', () => {
    expect(config.config.User).toBe('65532:65532')
    expect(config.config).not.toHaveProperty('Healthcheck')
    expect(config.config.Labels).toMatchObject({
      'org.opencontainers.image.title': name,
      'org.opencontainers.image.licenses': 'Apache-2.0',
      'org.opencontainers.image.source': expect.any(String),
      'org.opencontainers.image.revision': expect.any(String),
      'org.opencontainers.image.version': expect.any(String),
    })
  })

  it('holds no test, no secret and nothing of this machine', () => {
    expect(files.length).toBeGreaterThan(5)
    const unwanted = [
      /\.test\.[cm]?[jt]s$/,
      /\.d\.[cm]?ts$/,
      /\.(pem|key)$/,
      /(^|\/)(\.env|\.git|\.sidecart|\.npm|\.npmrc|npmrc|90host)(\/|$)/,
      /(^|\/)npm\//,
    ]
    expect(files.filter((file) => unwanted.some((pattern) => pattern.test(file)))).toEqual([])
  })

  it('holds the packages that its programs need, no others, and lists them', () => {
    const folders = new Set(
      files.flatMap(
        (file) => /^app\/((?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+)\/package\.json$/.exec(file)?.[1] ?? [],
      ),
    )
    if (name === 'edge') return expect([...folders]).toEqual([])
    expect(folders.size).toBeGreaterThan(10)
    expect([...folders].filter((folder) => !lock.packages[folder] || lock.packages[folder].dev)).toEqual([])
    const sbom = JSON.parse(readFileSync(join(dirname(image.archive), sbomFile), 'utf8')) as {
      components: { 'bom-ref': string }[]
    }
    const listed = new Set(sbom.components.map((component) => component['bom-ref']))
    const ids = [...folders].map(
      (folder) => `${folder.replace(/^.*node_modules\//, '')}@${lock.packages[folder]!.version}`,
    )
    expect([...ids, `node@${lock.packages['node_modules/node']!.version}`].filter((id) => !listed.has(id))).toEqual([])
    expect(listed.size).toBe(new Set(ids).size + 1)
  })
})

describe('a second build from nothing', () => {
  const scratch = mkdtempSync(join(tmpdir(), 'image-build-'))
  afterAll(() => rmSync(scratch, { recursive: true }))

  it('has the same digest', { timeout: 600_000 }, async () => {
    const progress = createProgress()
    const [image] = await ensureImages(['payment-sandbox'], progress)
    progress.close()
    expect(await digestOfNewBuild('payment-sandbox', scratch)).toBe(readManifest(image!).config.digest)
  })
})
