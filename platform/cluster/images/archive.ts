// Images as files, made without a container engine: an image is tar files and JSON. An archive
// leaves out the layers of the image that it is based on, so that a service's archive has 28 MB and
// not 230, and an import writes what is new. The base has to be imported first.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createReadStream, linkSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

export type ImageArchive = {
  /** With registry and tag. */
  name: string
  /** An OCI archive: for `ctr images import` once that of `base` has been imported. */
  archive: string
  /** Changes with the content. */
  id: string
  base?: ImageArchive
}

type Descriptor = { mediaType: string; digest: string; size: number; annotations?: Record<string, string> }
export type OciManifest = { schemaVersion: 2; mediaType?: string; config: Descriptor; layers: Descriptor[] }
export type OciConfig = {
  architecture: string
  os: string
  created: string
  config: {
    Env?: string[]
    Entrypoint?: string[]
    Cmd?: string[]
    User?: string
    WorkingDir?: string
    Labels?: Record<string, string>
  }
  rootfs: { type: 'layers'; diff_ids: string[] }
  history: { created: string; created_by: string; empty_layer?: true }[]
}

const manifestType = 'application/vnd.oci.image.manifest.v1+json'
/** No image says when it was made: the same content then has the same digest. */
const created = '1970-01-01T00:00:00Z'

const manifestFile = (image: ImageArchive) => join(dirname(image.archive), 'manifest.json')

/** Returns an image's manifest, which names the digests of its configuration and its layers. */
export function readManifest(image: ImageArchive): OciManifest {
  return JSON.parse(readFileSync(manifestFile(image), 'utf8')) as OciManifest
}

export function readConfig(image: ImageArchive): OciConfig {
  return JSON.parse(readFileSync(join(dirname(image.archive), 'config.json'), 'utf8')) as OciConfig
}

/** Writes a folder's content as a layer; the same content gives the same bytes. */
export function writeLayer(file: string, folder: string): void {
  execFileSync('tar', [...sameBytes, '--create', '--file', file, '--directory', folder, '.'])
}

const sameBytes = ['--sort=name', '--mtime=@0', '--owner=0', '--group=0', '--numeric-owner']

/**
 * Writes an image whose layers are tar files into a folder.
 * @param layers on top of those of `base`
 */
export async function writeImage(
  folder: string,
  {
    name,
    layers,
    config,
    base,
  }: { name: string; layers: string[]; config: OciConfig['config']; base?: ImageArchive | undefined },
): Promise<void> {
  const below = base && { manifest: readManifest(base), config: readConfig(base) }
  const own = await Promise.all(
    layers.map(async (file) => ({
      file,
      mediaType: 'application/vnd.oci.image.layer.v1.tar',
      digest: await digestOf(file),
      size: statSync(file).size,
    })),
  )
  const image: OciConfig = {
    architecture: process.arch === 'x64' ? 'amd64' : process.arch,
    os: 'linux',
    created,
    config: { ...below?.config.config, ...config },
    rootfs: {
      type: 'layers',
      diff_ids: [...(below?.config.rootfs.diff_ids ?? []), ...own.map(({ digest }) => digest)],
    },
    // buildah refuses an image whose layers have no history.
    history: [...(below?.config.history ?? []), ...own.map(() => ({ created, created_by: name }))],
  }
  const configBlob = Buffer.from(JSON.stringify(image))
  const manifest: OciManifest = {
    schemaVersion: 2,
    mediaType: manifestType,
    config: {
      mediaType: 'application/vnd.oci.image.config.v1+json',
      digest: digestOfText(configBlob),
      size: configBlob.length,
    },
    layers: [
      ...(below?.manifest.layers ?? []),
      ...own.map(({ mediaType, digest, size }) => ({ mediaType, digest, size })),
    ],
  }
  const blobs = Object.fromEntries(own.map(({ digest, file }) => [digest, file]))
  writeArchive(folder, { name, manifest: Buffer.from(JSON.stringify(manifest)), config: configBlob, blobs, base })
}

/** Packs an image into `folder`/image.tar, with its manifest and its configuration beside it. */
export function writeArchive(
  folder: string,
  image: {
    name: string
    manifest: Buffer
    config: Buffer
    /** The files of layers by digest. */
    blobs: Record<string, string>
    base?: ImageArchive | undefined
  },
): void {
  const manifest = JSON.parse(image.manifest.toString()) as OciManifest
  const below = new Set((image.base ? readManifest(image.base).layers : []).map(({ digest }) => digest))
  const content = join(folder, 'content')
  const blobFile = (digest: string) => join(content, 'blobs', ...digest.split(':'))
  mkdirSync(dirname(blobFile('sha256:x')), { recursive: true })
  const digest = digestOfText(image.manifest)
  writeFileSync(blobFile(digest), image.manifest)
  writeFileSync(blobFile(manifest.config.digest), image.config)
  for (const layer of manifest.layers) {
    const file = image.blobs[layer.digest]
    if (below.has(layer.digest)) continue
    if (file === undefined) throw new Error(`${image.name}: no file for layer ${layer.digest}`)
    linkSync(file, blobFile(layer.digest))
  }
  writeFileSync(join(content, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}')
  const annotations = {
    'io.containerd.image.name': image.name,
    'org.opencontainers.image.ref.name': image.name.split(':').at(-1) ?? 'latest',
  }
  const descriptor: Descriptor = { mediaType: manifestType, digest, size: image.manifest.length, annotations }
  writeFileSync(join(content, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [descriptor] }))
  writeLayer(join(folder, 'image.tar'), content)
  rmSync(content, { recursive: true })
  writeFileSync(join(folder, 'manifest.json'), image.manifest)
  writeFileSync(join(folder, 'config.json'), image.config)
}

async function digestOf(file: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer)
  return `sha256:${hash.digest('hex')}`
}

const digestOfText = (text: Buffer) => `sha256:${createHash('sha256').update(text).digest('hex')}`
