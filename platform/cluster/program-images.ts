// Images that hold one static program each, made without a builder: an image is tar files and JSON.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  copyFileSync,
  createReadStream,
  mkdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { basename, join } from 'node:path'
import { cacheFolder, makeOnce } from '../parts/cache.ts'

export type ImageArchive = {
  /** With registry and tag. */
  name: string
  /** A docker-archive, as `docker save` writes it. */
  archive: string
  /** Changes with the content. */
  id: string
  /** Has layers that the archive leaves out. */
  base?: ImageArchive | undefined
}

/**
 * Makes an image with a program at its root and a writable /tmp, unless it is in the cache.
 * @param program a static one: there are no libraries
 */
export async function ensureProgramImage(name: string, program: string, user: string = '65532'): Promise<ImageArchive> {
  const file = basename(program)
  const { size, mtimeMs } = statSync(program)
  const id = createHash('sha256')
    .update(JSON.stringify([name, program, size, mtimeMs, user]))
    .digest('hex')
    .slice(0, 12)
  const folder = join(cacheFolder(), 'images', `${file}-${id}`)
  await makeOnce(folder, async (empty) => {
    const content = join(empty, 'content')
    mkdirSync(join(content, 'etc'), { recursive: true })
    mkdirSync(join(content, 'tmp'))
    chmodSync(join(content, 'tmp'), 0o1777)
    writeFileSync(join(content, 'etc', 'passwd'), 'root:x:0:0::/:/\nnonroot:x:65532:65532::/:/\n')
    copyFileSync(program, join(content, file))
    tar(join(empty, 'layer.tar'), content, ['etc', 'tmp', file])
    rmSync(content, { recursive: true })
    const layer = await hashOf(join(empty, 'layer.tar'))
    const created = '2025-01-01T00:00:00Z'
    const config = {
      architecture: process.arch === 'x64' ? 'amd64' : process.arch,
      os: 'linux',
      created,
      config: { Entrypoint: [`/${file}`], User: `${user}:${user}`, Env: ['PATH=/'] },
      rootfs: { type: 'layers', diff_ids: [`sha256:${layer}`] },
      history: [{ created, created_by: file }],
    }
    writeFileSync(join(empty, 'config.json'), JSON.stringify(config))
    const manifest = [{ Config: 'config.json', RepoTags: [name], Layers: ['layer.tar'] }]
    writeFileSync(join(empty, 'manifest.json'), JSON.stringify(manifest))
    tar(join(empty, 'image.tar.new'), empty, ['manifest.json', 'config.json', 'layer.tar'])
    for (const part of ['manifest.json', 'config.json', 'layer.tar']) rmSync(join(empty, part))
    renameSync(join(empty, 'image.tar.new'), join(empty, 'image.tar'))
  })
  return { name, archive: join(folder, 'image.tar'), id }
}

/** The same content gives the same bytes. */
function tar(archive: string, folder: string, names: string[]): void {
  const same = ['--sort=name', '--mtime=2025-01-01 00:00Z', '--owner=0', '--group=0', '--numeric-owner']
  execFileSync('tar', [...same, '--create', '--file', archive, '--directory', folder, ...names])
}

async function hashOf(file: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer)
  return hash.digest('hex')
}
