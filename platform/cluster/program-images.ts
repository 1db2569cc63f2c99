// Images that hold one static program each.
import { chmodSync, copyFileSync, mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import type { Progress } from '../progress.ts'
import { writeImage, writeLayer, type ImageArchive } from './images/archive.ts'
import { ensureImage } from './images/made.ts'

/**
 * Makes an image with a program at its root and a writable /tmp, unless it is in the cache.
 * @param image.program a static one: there are no libraries
 * @param image.user its number; that of distroless images by default
 */
export function ensureProgramImage(
  { name, program, user = '65532' }: { name: string; program: string; user?: string },
  progress: Progress,
): Promise<ImageArchive> {
  const file = basename(program)
  // A program that someone else installed says by these whether it has changed.
  const { size, mtimeMs } = statSync(program)
  const make = async (folder: string) => {
    const content = join(folder, 'root')
    mkdirSync(join(content, 'etc'), { recursive: true })
    mkdirSync(join(content, 'tmp'))
    chmodSync(join(content, 'tmp'), 0o1777)
    writeFileSync(join(content, 'etc', 'passwd'), 'root:x:0:0::/:/\nnonroot:x:65532:65532::/:/\n')
    copyFileSync(program, join(content, file))
    const layer = join(folder, 'layer.tar')
    writeLayer(layer, content)
    const config = { Entrypoint: [`/${file}`], User: `${user}:${user}`, Env: ['PATH=/'] }
    await writeImage(folder, { name, layers: [layer], config })
    for (const each of [content, layer]) rmSync(each, { recursive: true })
  }
  return ensureImage({ name, inputs: [1, program, size, mtimeMs, user], usualSeconds: 2, make }, progress)
}
