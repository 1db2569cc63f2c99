import { expect, test } from 'vitest'
import { createProgress } from '../../../platform/progress.ts'
import { ensureConformanceSuite } from './suite.ts'
import { runConformance } from './run.ts'

const { TEST_MYSQL_URL: mysqlUrl = '', TEST_MONGODB_URI: mongodbUri = '' } = process.env

test("both stores pass Dapr's own conformance suite, no case skipped", async () => {
  const progress = createProgress()
  const program = await ensureConformanceSuite(progress).finally(() => progress.close())
  let output = ''
  const code = await runConformance({ program, mysqlUrl, mongodbUri, write: (text) => (output += text) })
  const cases = Map.groupBy(output.matchAll(/--- (\w+): (\S+)/g), ([, result]) => result)
  const names = (result: string) => cases.get(result)?.map(([, , name]) => name) ?? []
  if (code !== 0) throw new Error(output)
  expect([...names('FAIL'), ...names('SKIP')]).toEqual([])
  for (const store of ['outbox-mysql', 'outbox-mongodb']) {
    for (const each of ['transaction', 'etag', 'first-write_with_etag', 'set_and_get_with_TTL', 'set_and_get_proto']) {
      expect(names('PASS')).toContain(`TestConformance/${store}/${each}`)
    }
    expect(names('PASS')).toContain(`TestExpireTime/${store}/ttlExpireTime`)
  }
}, 900_000)
