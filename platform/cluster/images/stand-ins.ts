// Stands in for the two images that images/Containerfile is based on, where no registry is reached:
// Debian from its packages, and Node as npm has it, in the layout of the official images.
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { runLogged } from '../../parts/run-logged.ts'
import { root } from '../../processes/paths.ts'
import type { Progress } from '../../progress.ts'
import { writeImage, writeLayer, type ImageArchive } from './archive.ts'
import { ensureImage } from './made.ts'

const path = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
const npmVersion = '11.21.2'
/** As debian:bookworm-slim leaves them out. */
const leftOut = ['man', 'doc', 'locale', 'info', 'lintian', 'linda', 'groff'].map(
  (folder) => `--dpkgopt=path-exclude=/usr/share/${folder}/*`,
)

/** Makes a stand-in for debian:bookworm-slim. mmdebstrap verifies Debian's signatures. */
export function ensureDebian(progress: Progress): Promise<ImageArchive> {
  // usr-is-merged: otherwise apt chooses usrmerge, which brings 50 MB of Perl.
  const packages = ['libstdc++6', 'netbase', 'usr-is-merged']
  return ensureImage(
    {
      name: 'docker.io/library/debian:bookworm-slim',
      inputs: [1, packages],
      usualSeconds: 75,
      make: async (folder, log) => {
        const layer = join(folder, 'debian.tar')
        await debianPackages({ variant: 'minbase', packages, target: layer, log })
        const config = { Env: [`PATH=${path}`], Cmd: ['bash'] }
        await writeImage(folder, { name: 'docker.io/library/debian:bookworm-slim', layers: [layer], config })
        rmSync(layer)
      },
    },
    progress,
  )
}

/**
 * Unpacks packages of Debian 12 into a tar file.
 * @param variant minbase for a whole system, extract for nothing but the packages' files
 */
export async function debianPackages(options: {
  variant: 'minbase' | 'extract'
  packages: string[]
  target: string
  log: string
}): Promise<void> {
  const { variant, packages, target, log } = options
  // The date makes mmdebstrap's tar the same each time.
  const env = { ...process.env, SOURCE_DATE_EPOCH: '0' }
  const args = [
    '--mode=root',
    `--variant=${variant}`,
    `--include=${packages.join(',')}`,
    ...leftOut,
    // Debian's user _apt cannot read a folder of root's.
    '--aptopt=Apt::Sandbox::User "root"',
    ...(variant === 'minbase' ? ['--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr'] : []),
    ...(variant === 'minbase' ? ['--customize-hook=rm -rf "$1"/var/cache/apt "$1"/var/log/*.log'] : []),
  ]
  await runLogged(log, 'mmdebstrap', [...args, 'bookworm', target], { env })
}

/** Makes a stand-in for node:<version>-slim: Debian, Node, npm. Only builds use it. */
export function ensureNode(debian: ImageArchive, progress: Progress): Promise<ImageArchive> {
  const version = nodeVersion()
  const name = `docker.io/library/node:${version}-slim`
  return ensureImage(
    {
      name,
      base: debian,
      inputs: [1, version, npmVersion],
      usualSeconds: 10,
      make: async (folder, log) => {
        const local = join(folder, 'node', 'usr', 'local')
        for (const each of ['bin', 'lib/node_modules/npm']) mkdirSync(join(local, each), { recursive: true })
        cpSync(nodeBinary(), join(local, 'bin', 'node'))
        await runLogged(log, 'npm', ['pack', `npm@${npmVersion}`, '--pack-destination', folder], { cwd: folder })
        const npm = join(local, 'lib', 'node_modules', 'npm')
        await runLogged(log, 'tar', [
          '--extract',
          '--file',
          join(folder, `npm-${npmVersion}.tgz`),
          '--strip-components=1',
          '--directory',
          npm,
        ])
        symlinkSync('../lib/node_modules/npm/bin/npm-cli.js', join(local, 'bin', 'npm'))
        symlinkSync('../lib/node_modules/npm/bin/npx-cli.js', join(local, 'bin', 'npx'))
        const entrypoint = '#!/bin/sh\nexec "$@"\n'
        writeFileSync(join(local, 'bin', 'docker-entrypoint.sh'), entrypoint, { mode: 0o755 })
        const layer = join(folder, 'node.tar')
        writeLayer(layer, join(folder, 'node'))
        await writeImage(folder, {
          name,
          base: debian,
          layers: [layer],
          config: {
            Env: [`PATH=${path}`, `NODE_VERSION=${version}`],
            Entrypoint: ['docker-entrypoint.sh'],
            Cmd: ['node'],
          },
        })
        for (const each of ['node', 'node.tar', `npm-${npmVersion}.tgz`])
          rmSync(join(folder, each), { recursive: true })
      },
    },
    progress,
  )
}

function nodeVersion(): string {
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { version: string }>
  }
  return lock.packages['node_modules/node']?.version ?? ''
}

/** The package `node` holds the same binary as the official image. */
function nodeBinary(): string {
  const file = join(root, 'node_modules', 'node', 'bin', 'node')
  if (!existsSync(file)) throw new Error(`${file} is missing: run npm ci`)
  return file
}
