import { runConformance } from '../../pluggable/tests/conformance/run.ts'
import { createProgress } from '../../platform/progress.ts'
import { ensureConformanceSuite } from '../../pluggable/tests/conformance/suite.ts'
import { startServers } from '../../platform/start/shop.ts'

/**
 * Runs Dapr's conformance suite against both stores and prints each case. Exit code 1 when a case
 * fails. Starts its own servers unless TEST_MONGODB_URI and TEST_MYSQL_URL are set.
 * @param args flags for the suite, such as `-test.run /outbox-mysql/etag`
 */
export async function conformance(args: string[]): Promise<void> {
  const progress = createProgress()
  const program = await ensureConformanceSuite(progress)
  const { TEST_MONGODB_URI: mongodbUri, TEST_MYSQL_URL: mysqlUrl } = process.env
  const shop =
    mongodbUri && mysqlUrl
      ? undefined
      : await startServers(['mongodb', 'mysql'], { instance: 'conformance', portBase: 'free', fresh: true, progress })
  progress.close()
  try {
    const urls = { mongodbUri: mongodbUri ?? '', mysqlUrl: mysqlUrl ?? '', ...shop?.urls }
    process.exitCode = await runConformance({ ...urls, program, args, write: (text) => process.stdout.write(text) })
  } finally {
    await shop?.stop()
  }
}
