import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { edgeFiles, edgeIncludes } from './edge.ts'
import { createPaths, root } from './paths.ts'
import { createPorts } from './ports.ts'

const inCluster = join(root, 'k8s', 'components', 'edge')
const withoutComments = (text: string) => text.replaceAll(/^#.*\n/gm, '')

test("the cluster's files are those that one machine would write for it", () => {
  const trustedProxies = ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10', 'fd00::/8']
  const written = edgeIncludes({
    listen: ['8080'],
    fillerPort: 8082,
    gateway: 'gateway:80',
    limits: { requestsPerSecond: 2_000, burst: 4_000, connections: 256 },
    trustedProxies,
  })
  const files = globSync('place/*', { cwd: inCluster })
  const found = files.map((file) => [file, withoutComments(readFileSync(join(inCluster, file), 'utf8'))])
  expect(Object.fromEntries(found)).toEqual(written)
})

test('nginx.conf includes these files, each of which is written, and no other', () => {
  const conf = readFileSync(join(root, 'edge', 'nginx.conf'), 'utf8')
  const included = [...conf.matchAll(/^ *include ([^;]+);/gm)].map(([, file]) => file)
  const place = { listen: [], fillerPort: 1, gateway: '', limits: { requestsPerSecond: 1, burst: 1, connections: 1 } }
  expect(included.toSorted()).toEqual(Object.keys(edgeIncludes({ ...place, trustedProxies: [] })).toSorted())
})

test('one machine has its own ports in them, and the limit of its environment', () => {
  const place = { ports: createPorts(30_000), paths: createPaths('default') }
  expect(edgeFiles({ ...place, env: { EDGE_RATE_LIMIT_PER_S: '7' } })).toMatchObject({
    'place/listen.conf': 'listen 127.0.0.1:30000;\n',
    'place/filler-listen.conf': 'listen 127.0.0.1:30011;\n',
    'place/gateway.conf': 'server 127.0.0.1:30100 max_fails=0;\n',
    'place/limits.conf': expect.stringMatching(/rate=7r\/s;[^]*burst=14 /),
  })
  expect(() => edgeFiles({ ...place, env: { EDGE_RATE_LIMIT_PER_S: 'many' } })).toThrow(/EDGE_RATE_LIMIT_PER_S must/)
})
