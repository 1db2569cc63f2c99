// The edge answers some requests itself, in the gateway's words (edge/nginx.conf).
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it, test } from 'vitest'
import { unavailable } from '#lib/errors.ts'
import { maxBodyBytes } from './http/body.ts'
import { maxLinesBytes } from './http/body-lines.ts'
import { cachingOf } from './http/caching.ts'
import { problemCodes, problemOf, problemSchema, type ProblemCode } from './http/problem.ts'

const conf = readFileSync(join(import.meta.dirname, '..', '..', 'edge', 'nginx.conf'), 'utf8')

/** The members that nginx writes for each status. */
const [, map = ''] = /^ {2}map \$status \$edge_problem \{\n([\s\S]*?)^ {2}\}/m.exec(conf)!
const problems = [...map.matchAll(/^ +(\d+) '(.*)';$/gm)].map(([, status, members]) => ({
  status: Number(status),
  body: JSON.parse(`{${members}}`) as Record<string, unknown>,
}))

describe.each(problems)('its problem for $status', ({ status, body }) => {
  it('has a code of the API, with its status and title', () => {
    const known = problemCodes[body['code'] as ProblemCode]
    expect(known).toMatchObject({ status, title: body['title'] })
  })

  it('follows the schema', () => {
    expect(problemSchema.safeParse({ type: '', status, instance: '', requestId: '', ...body }).error).toBeUndefined()
  })
})

test('it has a problem for every status that it answers with one', () => {
  const statuses = [...conf.matchAll(/^ +error_page ((?:=?\d+ )+)\/edge\/problem/gm)].flatMap(([, list]) => {
    const words = list!.trim().split(' ')
    const changed = words.find((word) => word.startsWith('='))
    return changed ? [changed.slice(1)] : words
  })
  // 500 is the default.
  expect(new Set(statuses.map(Number))).toEqual(new Set([...problems.map(({ status }) => status), 500]))
})

test('it says of an outage what the gateway says', () => {
  const { body, headers } = problemOf(unavailable('unavailable', ''), { path: '' })
  const ofEdge = problems.find(({ status }) => status === 503)!.body
  expect(ofEdge).toEqual({ title: body.title, detail: body.detail, code: body.code })
  expect(headers['Retry-After']).toBe(/\$edge_retry_after \{[^}]*503 (\d+);/.exec(conf)![1])
})

test('it takes bodies of the same size', () => {
  const [, kib] = /client_max_body_size (\d+)k;/.exec(conf)!
  expect(Number(kib) * 1024).toBe(maxBodyBytes)
  expect(conf).toContain(`    default ${maxBodyBytes};\n`)
  expect(conf).toContain(`products:bulk(\\?|$)" ${maxLinesBytes};\n`)
  const [, mib] = /client_max_body_size (\d+)m;/.exec(conf)!
  expect(Number(mib) * 1024 * 1024).toBe(maxLinesBytes)
})

test('it keeps what the gateway says everyone may keep', () => {
  const { 'Cache-Control': caching } = cachingOf({ access: 'public', method: 'get' }, undefined)
  const patterns = [...conf.matchAll(/"~\^(public,[^"]*)" /g)].map(([, pattern]) => pattern!)
  expect(patterns).toHaveLength(2)
  for (const pattern of patterns) expect(caching.startsWith(pattern)).toBe(true)
})
