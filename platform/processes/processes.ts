// The one description of all processes, which `npm start` and the tests run. It starts and writes
// nothing.
import { join } from 'node:path'
import type { Context } from './context.ts'
import { behindEdge, describeEdge } from './edge.ts'
import type { Process } from './process.ts'
import { describeServers, type ServerName } from './servers.ts'
import { describeReplica } from './replicas.ts'
import { describeService, nodeCommand, programEnv } from './service-processes.ts'
import { serviceNames } from './services.ts'

/**
 * Returns all processes of a shop.
 * @param only these servers and nothing of the shop itself, for tests that need real servers
 */
export function describeProcesses(context: Context, only?: ServerName[]): Process[] {
  const servers = describeServers(context)
  if (only !== undefined) {
    return [...servers.filter(({ name }) => only.includes(name as ServerName)), setUpServers(context, only)]
  }
  const edge = describeEdge(context)
  const services = [
    ...serviceNames.flatMap((name) => describeService(context, name)),
    ...(context.replicas ?? []).flatMap((name) => describeReplica(context, name)),
  ]
  return [
    ...edge,
    ...servers,
    setUpServers(context, ['mongodb', 'mysql', 'kafka']),
    ...(context.jaegerIsMissing ? [buildJaeger(context)] : []),
    paymentSandbox(context),
    mailbox(context),
    ...services.map((process) =>
      process.name === 'gateway' && edge.length > 0 ? behindEdge(process, context) : process,
    ),
  ]
}

/**
 * Creates users, databases and topics. It retries until the servers respond, so it waits for none.
 */
function setUpServers(context: Context, names: ServerName[]): Process {
  return task(context, {
    name: 'setup',
    command: [
      ...nodeCommand(context, 'platform/start/setup.ts'),
      join(context.paths.generated, 'setup.json'),
      ...names,
    ],
  })
}

export const jaegerBuildName = 'build-jaeger'

/**
 * Builds Jaeger while the shop runs and then has the supervisor start it. As a process of the shop
 * it outlives a detached `npm start` and is stopped with the rest.
 */
function buildJaeger(context: Context): Process {
  const forBuilds = /^(GO|CGO_|XDG_CACHE_HOME$)|_proxy$/i
  const env = Object.entries(context.env).filter(([name, value]) => forBuilds.test(name) && value !== undefined)
  return task(context, {
    name: jaegerBuildName,
    command: [...nodeCommand(context, 'platform/start/build-jaeger.ts'), context.paths.name],
    env: Object.fromEntries(env) as Record<string, string>,
    runsOnce: true,
  })
}

function task({ paths }: Context, own: Partial<Process> & { name: string; command: string[] }): Process {
  return {
    kind: 'task',
    cwd: paths.root,
    ports: [],
    waitsFor: {},
    stopsBefore: [],
    stopSeconds: 5,
    ...own,
    env: { NODE_COMPILE_CACHE: paths.compileCache, ...own.env },
  }
}

function paymentSandbox(context: Context): Process {
  const { ports, paths, secrets } = context
  return standIn(context, {
    name: 'payment-sandbox',
    program: 'examples/payment-provider/main.ts',
    port: ports.paymentSandbox,
    env: {
      PROVIDER_API_KEY: secrets.services.payments.named['provider-api-key'] ?? '',
      DATA_FILE: join(paths.data, 'payment-sandbox', 'ledger.db'),
    },
  })
}

function mailbox(context: Context): Process {
  const { ports, paths, secrets } = context
  return standIn(context, {
    name: 'mailbox',
    program: 'examples/mailbox/main.ts',
    port: ports.mailbox,
    env: {
      MAIL_API_KEY: secrets.services.users.named['mail-api-key'] ?? '',
      DATA_FILE: join(paths.data, 'mailbox', 'mails.db'),
    },
  })
}

/** A program of examples/ in place of a service outside the shop. */
function standIn(
  context: Context,
  { name, program, port, env }: { name: string; program: string; port: number; env: Record<string, string> },
): Process {
  return {
    name,
    kind: 'server',
    command: nodeCommand(context, program),
    env: { ...programEnv(context), PORT: String(port), ...env },
    cwd: context.paths.root,
    ports: [port],
    health: { tcp: port },
    waitsFor: {},
    stopsBefore: ['jaeger'],
    stopSeconds: 5,
  }
}
