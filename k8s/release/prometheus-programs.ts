// Prometheus and its promtool, for tests.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fromApt } from '../../platform/parts/apt.ts'
import { cacheFolder } from '../../platform/parts/cache.ts'
import { buildOnce } from '../../platform/parts/ensure.ts'
import { createProgress } from '../../platform/progress.ts'

/**
 * Unpacks Debian's or Ubuntu's package into the cache.
 * @throws Error where there is no apt-get
 */
export async function ensurePrometheus(): Promise<{ prometheus: string; promtool: string }> {
  const cacheKey = 'prometheus-apt'
  const folder = join(cacheFolder(), cacheKey)
  if (!existsSync(folder)) {
    const recipe = fromApt('prometheus', 'usr/bin/prometheus', [2, 30], ['--version'])
    const progress = createProgress()
    await buildOnce({ title: 'Prometheus', cacheKey, recipe, usualSeconds: 10 }, progress)
    progress.close()
  }
  return { prometheus: join(folder, 'bin', 'prometheus'), promtool: join(folder, 'usr', 'bin', 'promtool') }
}
