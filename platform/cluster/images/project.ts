// The project's own images, by buildah from images/Containerfile.
import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { gunzipSync } from 'node:zlib'
import { contentsOf, hashFiles, programs } from '../../../images/collect.ts'
import { cacheFolder, lock } from '../../parts/cache.ts'
import { runLogged } from '../../parts/run-logged.ts'
import { root } from '../../processes/paths.ts'
import type { Progress } from '../../progress.ts'
import { readManifest, writeArchive, type ImageArchive, type OciConfig, type OciManifest } from './archive.ts'
import { ensureImage } from './made.ts'
import { ensureDebian, ensureNode } from './stand-ins.ts'

const execute = promisify(execFile)
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
        name: `docker.io/sidecart/${name}:latest`,
        base,
        inputs: [1, hashFiles(root, files), buildNode.id],
        usualSeconds,
        make: (folder, log) => buildTarget({ name, base, from: [debian, buildNode], folder, log }),
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

const folder = () => join(cacheFolder(), 'buildah')

async function buildah(...args: string[]): Promise<string> {
  return (await execute('buildah', [...storage(), ...args], { cwd: folder() })).stdout.trim()
}

/** Its own storage: nothing of this is seen by the machine's other uses of buildah and podman. */
const storage = () => [
  ...['--root', join(folder(), 'root'), '--runroot', join(folder(), 'run')],
  ...['--storage-driver', process.env['STORAGE_DRIVER'] ?? 'overlay'],
]

async function buildTarget(options: {
  name: string
  base: ImageArchive
  from: ImageArchive[]
  folder: string
  log: string
}): Promise<void> {
  const { name, base, from, log } = options
  mkdirSync(folder(), { recursive: true })
  const release = await lock(join(folder(), 'lock'))
  try {
    for (const image of from) await load(image, log)
    const tag = `localhost/sidecart/${name}`
    await runLogged(log, 'buildah', [
      ...storage(),
      'build',
      // Without a container engine's daemon and without user namespaces.
      ...['--isolation', 'chroot', '--pull-never', '--layers', '--timestamp', '0', '--identity-label=false'],
      ...(await hostSettings(options.folder)),
      ...['--file', join(root, 'images', 'Containerfile'), '--target', name, '--tag', tag],
      root,
    ])
    await save(tag, { ...options, name: `docker.io/sidecart/${name}:latest`, base })
  } catch (error) {
    if (/buildah is not installed/.test((error as Error).message))
      throw new Error('buildah is not installed: apt-get install buildah', { cause: error })
    throw error
  } finally {
    release()
  }
}

/** Every image that is loaded or saved, its blobs once: what is there is not copied again. */
const layout = () => join(folder(), 'layout')

/** Brings an archive into buildah's storage, unless it is there. */
async function load(image: ImageArchive, log: string): Promise<void> {
  const id = readManifest(image).config.digest.replace('sha256:', '')
  const present = await buildah('images', '--all', '--no-trunc', '--format', '{{.Name}}:{{.Tag}} {{.ID}}').catch(
    () => '',
  )
  if (present.split('\n').some((line) => line.startsWith(image.name) && line.includes(id))) return
  mkdirSync(layout(), { recursive: true })
  const chain = [image, ...(image.base ? [image.base] : [])]
  // The image last: the index is then its own.
  for (const { archive } of chain.toReversed())
    await runLogged(log, 'tar', ['--extract', '--file', archive, '--directory', layout()])
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
  rmSync(join(layout(), 'index.json'), { force: true })
  await runLogged(log, 'buildah', [...storage(), 'push', '--format', 'oci', tag, `oci:${layout()}`])
  const blob = (digest: string) => join(layout(), 'blobs', ...digest.split(':'))
  const index = JSON.parse(readFileSync(join(layout(), 'index.json'), 'utf8')) as { manifests: { digest: string }[] }
  const manifest = JSON.parse(readFileSync(blob(index.manifests.at(-1)?.digest ?? ''), 'utf8')) as OciManifest
  const config = readFileSync(blob(manifest.config.digest))
  // buildah compresses what it writes, and asks for a layer by the digest that it has without that.
  // So a base is kept uncompressed: its 200 MB are then there at the next push.
  if (name.includes('/node:')) {
    const { diff_ids } = (JSON.parse(config.toString()) as OciConfig).rootfs
    manifest.layers = manifest.layers.map((layer, i) => {
      if (!layer.mediaType.endsWith('+gzip')) return layer
      const content = gunzipSync(readFileSync(blob(layer.digest)))
      const digest = diff_ids[i] ?? ''
      writeFileSync(blob(digest), content)
      return { mediaType: layer.mediaType.replace('+gzip', ''), digest, size: content.length }
    })
  }
  const blobs = Object.fromEntries(manifest.layers.map(({ digest }) => [digest, blob(digest)]))
  writeArchive(folder, { name, manifest: Buffer.from(JSON.stringify(manifest)), config, blobs, base })
  // Bases are needed again; the rest is in the archive now.
  const kept = new Set((name.includes('/node:') ? manifest : readManifest(base)).layers.map(({ digest }) => digest))
  const sums = join(layout(), 'blobs', 'sha256')
  for (const sum of readdirSync(sums)) if (!kept.has(`sha256:${sum}`)) rmSync(join(sums, sum))
}

/**
 * Returns what npm and apt need on this machine to reach their registries, for the build alone:
 * settings, certificates, and npm's cache, so that nothing is fetched twice.
 */
async function hostSettings(folder: string): Promise<string[]> {
  const volumes: string[] = []
  const npm = async (key: string) => {
    const { stdout } = await execute('npm', ['config', 'get', key]).catch(() => ({ stdout: '' }))
    return stdout.trim()
  }
  const [cache, user, global, authority] = await Promise.all(['cache', 'userconfig', 'globalconfig', 'cafile'].map(npm))
  const mount = (from: string | undefined, to: string, how: 'ro' | 'rw' = 'ro') => {
    if (from && existsSync(from)) volumes.push('--volume', `${from}:${to}:${how}`)
  }
  mount(cache, '/root/.npm', 'rw')
  mount(user, '/root/.npmrc')
  mount(global, '/usr/local/etc/npmrc')
  mount(authority, authority ?? '')
  const { stdout } = await execute('apt-config', ['dump', 'Acquire']).catch(() => ({ stdout: '' }))
  const aptSettings = join(folder, 'apt.conf')
  writeFileSync(aptSettings, stdout)
  mount(aptSettings, '/etc/apt/apt.conf.d/90host')
  return volumes
}
