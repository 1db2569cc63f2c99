// Dapr's conformance suite for state stores, compiled with the client that sidecars use for
// pluggable components.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { cacheFolder } from '../../../platform/parts/cache.ts'
import type { Progress } from '../../../platform/progress.ts'
import { buildOnce } from '../../../platform/parts/ensure.ts'
import { daprVersion, hashOf } from '../../../platform/parts/parts.ts'
import { fromGo } from '../../../platform/parts/recipes.ts'

const testFile = join(import.meta.dirname, 'conformance_test.go')

/**
 * Compiles the suite unless it is cached.
 * @returns its path; it takes the flags of `go test` as `-test.v`, `-test.run`, …
 * @throws Error when Go is missing or the build fails
 */
export async function ensureConformanceSuite(progress: Progress): Promise<string> {
  const cacheKey = `conformance-${daprVersion}-${hashOf(testFile)}`
  const program = join(cacheFolder(), cacheKey, 'conformance.test')
  if (existsSync(program)) return program
  const recipe = fromGo({
    module: 'github.com/dapr/dapr',
    version: `v${daprVersion}`,
    program: { testFile },
    binary: 'conformance.test',
  })
  await buildOnce({ title: "Dapr's conformance suite", cacheKey, recipe, usualSeconds: 90 }, progress)
  return program
}
