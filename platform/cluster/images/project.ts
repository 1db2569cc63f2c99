// The project's own images, by buildah from images/Containerfile.
import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { gunzipSync } from 'node:zlib'
import { contentsOf, hashFiles, programs } from '../../../images/collect.ts'
import { sbomOf } from '../../../images/sbom.ts'
import { cacheFolder, lock } from '../../parts/cache.ts'
import { runLogged } from '../../parts/run-logged.ts'
import { root } from '../../processes/paths.ts'
import type { Progress } from '../../progress.ts'
import { readManifest, writeArchive, type ImageArchive, type OciConfig, type OciManifest } from './archive.ts'
import { ensureImage } from './made.ts'
import { ensureDebian, ensureNode } from './stand-ins.ts'

const execute = promisify(execFile)
/** Beside an image's archive. */
export const sbomFile = 'sbom.cdx.json'
const buildFiles = ['images/Containerfile', 'images/collect.ts', 'package.json', 'package-lock.json', '.dockerignore']

/** Returns the names of all images that images/Containerfile makes. */
export function projectImageNames(): string[] {
  return [...Object.keys(programs(root)), 'edge']
}

/** Returns the files that an image is made of, sorted. @throws Error when there is no such image */
export function filesOfImage(name: string): string[] {
  const own = name === 'edge' ? ['edge/nginx.conf'] : contentsOf(root, name).files
  return [...new Set([...own, ...buildFiles])].toSorted()
}

/**
 * Builds images of the project that are not in the cache for the files as they are now.
 * @param names of targets in images/Containerfile
 * @throws Error that names the log when a build fails, or says that buildah is not installed
 */
export async function ensureProjectImages(names: readonly string[], progress: Progress): Promise<ImageArchive[]> {
  const debian = await ensureDebian(progress)
  const buildNode = await ensureNode(debian, progress)
  const target = async (name: string, files: string[], base: ImageArchive, usualSeconds: number) =>
    ensureImage(
      {
        name: nameOf(name),
        base,
        inputs: [4, hashFiles(root, files), buildNode.id],
        usualSeconds,
        make: (folder, log) => makeTarget({ name, base, from: [debian, buildNode], folder, log }),
      },
      progress,
    )
  // The layer that all programs share.
  const node = await target('node', ['package-lock.json', 'images/Containerfile'], debian, 60)
  const images: ImageArchive[] = []
  // One after the other: each finds the layers that the one before it has left.
  for (const name of names) images.push(await target(name, filesOfImage(name), name === 'edge' ? debian : node, 8))
  return images
}

const storageFolder = () => join(cacheFolder(), 'buildah')

async function buildah(...args: string[]): Promise<string> {
  return (await execute('buildah', [...storage(), ...args], { cwd: storageFolder() })).stdout.trim()
}

/** Its own storage: nothing of this is seen by the machine's other uses of buildah and podman. */
function storage(): string[] {
  const driver = process.env['STORAGE_DRIVER'] ?? 'overlay'
  return [
    '--root',
    join(storageFolder(), 'root'),
    '--runroot',
    join(storageFolder(), 'run'),
    '--storage-driver',
    driver,
  ]
}

type Build = {
  /** A target in images/Containerfile. */
  name: string
  base: ImageArchive
  /** What images/Containerfile is based on. */
  from: ImageArchive[]
  folder: string
  log: string
}

async function makeTarget({ name, base, from, folder, log }: Build): Promise<void> {
  const sbom = name in programs(root) ? sbomOf(root, name) : undefined
  // Whoever awaits it later sees its error; until then it is nobody's.
  sbom?.catch(() => {})
  await withBuildah(async () => {
    for (const image of from) await load(image, log)
    const tag = `localhost/sidecart/${name}`
    await build(name, tag, { folder, log })
    // Its own name: what prune() leaves of the layers.
    if (name === 'node') await build('packages', 'localhost/sidecart/packages', { folder, log })
    await save(tag, { folder, log, name: nameOf(name), base })
    await prune()
  })
  if (sbom) writeFileSync(join(folder, sbomFile), JSON.stringify(await sbom, undefined, 2))
}

/**
 * Builds an image anew from its base images, npm's packages included, and keeps nothing of it: for
 * a test that compares it with the one in the cache.
 * @param scratch an empty folder
 * @returns the digest of its configuration, which names the digests of all its layers
 */
export async function digestOfNewBuild(name: string, scratch: string): Promise<string> {
  const tag = `localhost/sidecart/${name}:again`
  return withBuildah(async () => {
    await build(name, tag, { folder: scratch, log: join(scratch, 'log'), anew: true })
    const id = await buildah('images', '--quiet', '--no-trunc', tag)
    await buildah('rmi', tag)
    return id
  })
}

/** Every edit leaves 30 MB of layers. Those of the newest images, and npm's packages, stay. */
async function prune(): Promise<void> {
  const all = (await buildah('images', '--all', '--quiet')).split('\n')
  if (all.length > 400) await buildah('rmi', '--prune', '--force')
}

const nameOf = (target: string) => `docker.io/sidecart/${target}:latest`

/** One at a time: the second finds the layers that the first one has left. */
async function withBuildah<T>(work: () => Promise<T>): Promise<T> {
  mkdirSync(storageFolder(), { recursive: true })
  const release = await lock(join(storageFolder(), 'lock'))
  try {
    return await work()
  } catch (error) {
    if (!/buildah is not installed|spawn buildah ENOENT/.test((error as Error).message)) throw error
    throw new Error('buildah is not installed: apt-get install buildah', { cause: error })
  } finally {
    release()
  }
}

async function build(
  name: string,
  tag: string,
  { folder, log, anew = false }: { folder: string; log: string; anew?: boolean },
): Promise<void> {
  const flags = {
    // Without a container engine's daemon and without user namespaces.
    isolation: 'chroot',
    timestamp: '0',
    file: join(root, 'images', 'Containerfile'),
    target: name,
    tag,
  }
  await runLogged(log, 'buildah', [
    ...storage(),
    'build',
    '--pull-never',
    // Without it all of a stage would be one layer.
    '--layers',
    ...(anew ? ['--no-cache'] : []),
    '--identity-label=false',
    ...Object.entries(flags).flatMap(([flag, value]) => [`--${flag}`, value]),
    ...(await hostSettings(name, folder)),
    root,
  ])
}

/** The blobs of the base images, so that no push copies them again. */
const layout = () => join(storageFolder(), 'layout')
const blobFile = (digest: string) => join(layout(), 'blobs', ...digest.split(':'))

/** Makes a base image's blobs and index those of the layout. */
async function fillLayout(image: ImageArchive, log: string): Promise<void> {
  mkdirSync(layout(), { recursive: true })
  if (image.base) await fillLayout(image.base, log)
  await runLogged(log, 'tar', ['--extract', '--file', image.archive, '--directory', layout()])
}

/** Brings an archive into buildah's storage, unless it is there. */
async function load(image: ImageArchive, log: string): Promise<void> {
  const id = readManifest(image).config.digest.replace('sha256:', '')
  const format = '{{.Name}}:{{.Tag}} {{.ID}}'
  const present = await buildah('images', '--all', '--no-trunc', '--format', format)
  if (present.split('\n').some((line) => line.startsWith(image.name) && line.includes(id))) return
  await fillLayout(image, log)
  // By its name in the working folder: buildah makes the path a part of the image's name, and
  // refuses one with ".cache" in it.
  const pulled = await buildah('pull', '--quiet', 'oci:layout')
  await buildah('tag', pulled, image.name)
}

/** Takes an image out of buildah's storage into an archive. */
async function save(
  tag: string,
  { name, base, folder, log }: { name: string; base: ImageArchive; folder: string; log: string },
): Promise<void> {
  const below = new Set(readManifest(base).layers.map(({ digest }) => digest))
  if (![...below].every((digest) => existsSync(blobFile(digest)))) await fillLayout(base, log)
  rmSync(join(layout(), 'index.json'), { force: true })
  await runLogged(log, 'buildah', [...storage(), 'push', '--format', 'oci', tag, `oci:${layout()}`])
  const index = JSON.parse(readFileSync(join(layout(), 'index.json'), 'utf8')) as { manifests: { digest: string }[] }
  const manifestDigest = index.manifests.at(-1)?.digest ?? ''
  const manifest = JSON.parse(readFileSync(blobFile(manifestDigest), 'utf8')) as OciManifest
  const config = readFileSync(blobFile(manifest.config.digest))
  const written = manifest.layers.filter(({ digest }) => !below.has(digest))
  // buildah compresses what it writes, and asks for a layer by the digest that it has without that.
  // So the base of all programs is kept uncompressed: its 200 MB are then there at the next push.
  if (name === nameOf('node')) {
    const { diff_ids } = (JSON.parse(config.toString()) as OciConfig).rootfs
    manifest.layers = manifest.layers.map((layer, i) => {
      if (!layer.mediaType.endsWith('+gzip')) return layer
      const content = gunzipSync(readFileSync(blobFile(layer.digest)))
      const digest = diff_ids[i] ?? ''
      writeFileSync(blobFile(digest), content)
      return { mediaType: layer.mediaType.replace('+gzip', ''), digest, size: content.length }
    })
  }
  const blobs = Object.fromEntries(manifest.layers.map(({ digest }) => [digest, blobFile(digest)]))
  writeArchive(folder, { name, manifest: Buffer.from(JSON.stringify(manifest)), config, blobs, base })
  // They are in the archive now.
  for (const { digest } of [{ digest: manifestDigest }, manifest.config, ...written]) rmSync(blobFile(digest))
}

/**
 * Returns what npm or apt needs on this machine to reach its registry, for the build alone:
 * settings, certificates, and npm's cache, so that nothing is fetched twice.
 */
async function hostSettings(name: string, folder: string): Promise<string[]> {
  const volumes: [from: string, to: string, how: 'ro' | 'rw'][] = []
  if (name === 'edge') {
    const { stdout } = await execute('apt-config', ['dump', 'Acquire'])
    const settings = join(folder, '.apt')
    mkdirSync(settings)
    writeFileSync(join(settings, 'host'), stdout)
    // In place of a folder that is there: a new one would stay in the image.
    volumes.push([settings, '/etc/apt/apt.conf.d', 'ro'])
  } else {
    const npm = async (key: string) => (await execute('npm', ['config', 'get', key])).stdout.trim()
    const [cache = '', user = '', global = '', authority = ''] = await Promise.all(
      ['cache', 'userconfig', 'globalconfig', 'cafile'].map(npm),
    )
    volumes.push([cache, '/root/.npm', 'rw'], [user, '/root/.npmrc', 'ro'], [global, '/usr/local/etc/npmrc', 'ro'])
    volumes.push([authority, authority, 'ro'])
  }
  return volumes.flatMap(([from, to, how]) => (existsSync(from) ? ['--volume', `${from}:${to}:${how}`] : []))
}
