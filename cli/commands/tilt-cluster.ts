// What the Tiltfile, and who types it, needs of the project's own cluster.
import { spawn } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { shopAccess } from '../../platform/cluster/access.ts'
import { attachCluster, type Cluster } from '../../platform/cluster/cluster.ts'
import { importImages } from '../../platform/cluster/image-import.ts'
import { ensureProjectImages } from '../../platform/cluster/images/project.ts'
import { createClusterPaths } from '../../platform/cluster/paths.ts'
import { lock } from '../../platform/parts/cache.ts'
import { root } from '../../platform/processes/paths.ts'
import { createProgress } from '../../platform/progress.ts'

const paths = createClusterPaths()

function running(): Cluster {
  const cluster = attachCluster(paths)
  if (!cluster) throw new Error('No cluster runs. `npm run cluster -- up` starts one.')
  return cluster
}

/**
 * Builds an image and brings it into the cluster's node.
 * @param output the file to write its reference to; the tag changes with the content
 */
export async function loadImage(name: string, output: string): Promise<void> {
  const { node } = running()
  const progress = createProgress()
  // Tilt builds several at a time; the record of what is imported has one writer.
  const release = await lock(join(paths.state, 'tilt-image.lock'))
  try {
    const images = await ensureProjectImages([name], progress)
    await importImages(paths, node, images)
    mkdirSync(dirname(output), { recursive: true })
    writeFileSync(output, `sidecart/${name}:${images[0]?.id}`)
  } finally {
    release()
    progress.close()
  }
}

/** Runs `npm run seed` against the shop in the cluster, as its admin. */
export async function seedCluster(args: string[]): Promise<void> {
  const { api, login } = await shopAccess(running())
  const child = spawn(process.execPath, [join(root, 'cli', 'main.ts'), 'seed', '--api', api, ...args], {
    stdio: 'inherit',
    env: {
      ...process.env,
      SIDECART_EMAIL: login.admin.email,
      SIDECART_PASSWORD: login.admin.password,
      SIDECART_SEED_PASSWORD: login.shopper.password,
    },
  })
  process.exitCode = await new Promise<number>((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', (code) => resolve(code ?? 1))
  })
}
