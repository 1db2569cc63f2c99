// The edge: the shop's own nginx in front of the gateway, where there is one to be had.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Context } from './context.ts'
import type { Process } from './process.ts'

/** What differs from place to place; all else is in edge/nginx.conf. */
export type EdgePlace = {
  /** Addresses with ports, as `listen` takes them. */
  listen: string[]
  /** The loopback port of the server inside that fills the cache. */
  fillerPort: number
  /** The gateway's host and port. */
  gateway: string
  /** Of one client address; `connections` counts those with a request in hand. */
  limits: { requestsPerSecond: number; burst: number; connections: number }
  /** Addresses and networks of the proxies in front. */
  trustedProxies: string[]
}

/**
 * The gateway counts too, by kind of request. Here it is about floods: an office behind one address
 * is many shoppers, and an import is welcome.
 * @throws RangeError when EDGE_RATE_LIMIT_PER_S is no number
 */
function limits({ EDGE_RATE_LIMIT_PER_S: text }: NodeJS.ProcessEnv): EdgePlace['limits'] {
  const requestsPerSecond = Number(text || 2_000)
  if (!Number.isInteger(requestsPerSecond) || requestsPerSecond < 1)
    throw new RangeError(`EDGE_RATE_LIMIT_PER_S must be a whole number from 1, not "${text}"`)
  return { requestsPerSecond, burst: 2 * requestsPerSecond, connections: 256 }
}

/** Returns the files that nginx.conf includes, by their path next to it. */
export function edgeIncludes({
  listen,
  fillerPort,
  gateway,
  limits,
  trustedProxies,
}: EdgePlace): Record<string, string> {
  const { requestsPerSecond, burst, connections } = limits
  return {
    'place/listen.conf': lines(listen.map((address) => `listen ${address};`)),
    'place/filler-listen.conf': lines([`listen 127.0.0.1:${fillerPort};`]),
    // More at once than the gateway can answer in time: the cache then answers with what it has.
    'place/filler.conf': lines([`server 127.0.0.1:${fillerPort} max_fails=0 max_conns=512;`]),
    // Never marked as failed: it is the only one, and answers again as soon as it is back.
    'place/gateway.conf': lines([`server ${gateway} max_fails=0;`]),
    'place/limits.conf': lines([
      `limit_req_zone $edge_client zone=requests:10m rate=${requestsPerSecond}r/s;`,
      `limit_req zone=requests burst=${burst} nodelay;`,
      'limit_conn_zone $edge_client zone=connections:10m;',
      `limit_conn connections ${connections};`,
    ]),
    'place/trusted-proxies.conf': lines([
      ...trustedProxies.map((proxy) => `set_real_ip_from ${proxy};`),
      'geo $realip_remote_addr $edge_trusts_peer {',
      '  default 0;',
      ...trustedProxies.map((proxy) => `  ${proxy} 1;`),
      '}',
    ]),
  }
}

const lines = (list: string[]) => list.map((line) => `${line}\n`).join('')

/** Returns all files of the edge's folder on this machine. */
export function edgeFiles({ ports, paths, env }: Pick<Context, 'ports' | 'paths' | 'env'>): Record<string, string> {
  return {
    'nginx.conf': readFileSync(join(paths.root, 'edge', 'nginx.conf'), 'utf8'),
    ...edgeIncludes({
      listen: [`127.0.0.1:${ports.api}`],
      fillerPort: ports.edgeFiller,
      gateway: `127.0.0.1:${ports.services.gateway.app}`,
      limits: limits(env),
      trustedProxies: [],
    }),
  }
}

export const edgeFolder = ({ paths }: Pick<Context, 'paths'>) => join(paths.generated, 'edge')

/** Returns the edge's process; none without nginx. */
export function describeEdge(context: Context): Process[] {
  const { servers, ports, paths } = context
  const { nginx } = servers
  if (nginx === undefined || nginx.from === 'address') return []
  return [
    {
      name: 'edge',
      kind: 'server',
      command: nginxCommand(nginx.path, edgeFolder(context)),
      env: {},
      cwd: paths.state,
      ports: [ports.api, ports.edgeFiller],
      health: { http: { port: ports.api, path: '/edge/livez', status: 200 } },
      waitsFor: {},
      // Requests in flight end before what answers them.
      stopsBefore: ['gateway'],
      stopSignal: 'SIGQUIT',
      stopSeconds: 10,
    },
  ]
}

/**
 * Ends the workers of a master that is killed. They would serve on, keep its port from the next
 * master, and hold its output open, for whose end the supervisor waits before it restarts it. By
 * setpriv, which only Linux has, the kernel tells this script of the end of its parent.
 */
const endLeftWorkers = `
trap '' TERM INT HUP QUIT
trap 'pkill -KILL -g 0 -f "^nginx: (worker|cache)"; kill -KILL $!' USR1
sleep infinity &
wait`

const startWithWatcher = `
if command -v setpriv >/dev/null; then
  setpriv --pdeathsig USR1 sh -c "$0" </dev/null >/dev/null 2>&1 &
fi
exec "$@"`

/** Returns the command that runs nginx with the files in a folder, to which it also writes. */
export function nginxCommand(program: string, folder: string): string[] {
  return [
    'sh',
    '-c',
    startWithWatcher,
    endLeftWorkers,
    program,
    '-p',
    folder,
    '-c',
    join(folder, 'nginx.conf'),
    '-e',
    'stderr',
    // As root its workers would be nobody, who may not read this folder.
    ...(process.getuid?.() === 0 ? ['-g', 'user root;'] : []),
  ]
}

/** Returns the gateway's process as it is behind the edge: with one trusted hop more in front. */
export function behindEdge(gateway: Process, { env }: Pick<Context, 'env'>): Process {
  const hops = Number(env['TRUST_PROXY_HOPS'] ?? 0) + 1
  return { ...gateway, env: { ...gateway.env, TRUST_PROXY_HOPS: String(hops) } }
}
