// What servers need on disk before their first start: data folders, the certificate authority. Each
// is made completely or not at all.
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { get } from 'node:http'
import { dirname, join } from 'node:path'
import type { Paths } from '../processes/paths.ts'
import { poll } from '../poll.ts'
import { isMariaDb, mysqlTemporary, sentryCommand, type Context } from '../processes/processes.ts'
import type { Progress } from '../progress.ts'
import type { Servers } from '../parts/ensure.ts'
import { runLogged } from '../parts/run-logged.ts'

/** Makes the data folders that are not there yet of the servers that this shop runs itself. */
export async function prepareData(context: Context, progress: Progress): Promise<void> {
  const { servers, paths } = context
  mkdirSync(paths.data, { recursive: true, mode: 0o700 })
  mkdirSync(join(paths.data, 'mongodb'), { recursive: true })
  mkdirSync(join(paths.data, 'payment-sandbox'), { recursive: true })
  mkdirSync(mysqlTemporary(paths), { recursive: true })
  const log = join(paths.logs, 'prepare.log')
  const work: Promise<void>[] = []
  const { mysql } = servers
  if (mysql && mysql.from !== 'address' && !existsSync(join(paths.data, 'mysql'))) {
    work.push(
      progress.step({ title: 'MySQL: new data folder', log }, () =>
        initialiseMysql(mysql, join(paths.data, 'mysql'), mysqlTemporary(paths), log),
      ),
    )
  }
  if (servers.kafka && servers.kafka.from !== 'address' && !existsSync(join(paths.data, 'kafka', 'meta.properties'))) {
    work.push(progress.step({ title: 'Kafka: new data folder', log }, () => formatKafka(context, log)))
  }
  await Promise.all(work)
}

type Program = Exclude<Servers['mysql'], { from: 'address' }>

/** Makes a new data folder, with a root that has no password. */
export async function initialiseMysql(
  mysql: Program,
  folder: string,
  temporaryFiles: string,
  log: string,
): Promise<void> {
  const temporary = `${folder}.new`
  rmSync(temporary, { recursive: true, force: true })
  // Of its own: a second MariaDB that starts meanwhile deletes what it finds in a common /tmp.
  const env = { ...process.env, TMPDIR: temporaryFiles }
  const asRoot = process.getuid?.() === 0 ? ['--user=root'] : []
  if (isMariaDb({ mysql })) {
    const base = dirname(dirname(mysql.path))
    const unpacked = mysql.from === 'cache'
    const program = [join(base, 'scripts', 'mariadb-install-db'), join(base, 'bin', 'mariadb-install-db')].find(
      (file) => existsSync(file),
    )
    await runLogged(
      log,
      program ?? 'mariadb-install-db',
      [
        '--no-defaults',
        ...asRoot,
        ...(unpacked ? [`--basedir=${base}`] : []),
        `--datadir=${temporary}`,
        '--auth-root-authentication-method=normal',
        '--skip-test-db',
      ],
      { env },
    )
  } else {
    await runLogged(log, mysql.path, ['--no-defaults', ...asRoot, '--initialize-insecure', `--datadir=${temporary}`], {
      env,
    })
  }
  renameSync(temporary, folder)
}

async function formatKafka({ servers, paths, secrets }: Context, log: string): Promise<void> {
  const { kafka } = servers
  if (kafka === undefined || kafka.from === 'address') return
  // Left half done it has no meta.properties, and is formatted again.
  rmSync(join(paths.data, 'kafka'), { recursive: true, force: true })
  await runLogged(log, 'java', [
    '-XX:TieredStopAtLevel=1',
    '-cp',
    `${kafka.path}/*`,
    'kafka.tools.StorageTool',
    'format',
    // As one word: of 64 random ids one begins with a dash, and would be taken for an option.
    `--cluster-id=${secrets.kafkaClusterId}`,
    '--config',
    join(paths.generated, 'kafka.properties'),
  ])
}

/**
 * The certificate authority of the sidecars, made by sentry itself. On its first start sentry
 * writes its credentials, sees the files change and restarts a few seconds later; a sidecar that
 * asks in that moment dies. So it is run once for this alone, and stopped when the files are there.
 * @returns the authority's certificate, PEM
 */
export async function trustAnchors({
  servers,
  paths,
  ports,
}: Pick<Context, 'servers' | 'paths' | 'ports'>): Promise<string> {
  const certificate = join(paths.sentry, 'ca.crt')
  if (!existsSync(certificate)) await makeAuthority(servers, paths, ports)
  return readFileSync(certificate, 'utf8')
}

async function makeAuthority(servers: Context['servers'], paths: Paths, ports: Context['ports']): Promise<void> {
  if (servers.sentry === undefined || servers.sentry.from === 'address')
    throw new Error('there is no sentry to make certificates')
  const temporary = `${paths.sentry}.new`
  rmSync(temporary, { recursive: true, force: true })
  mkdirSync(temporary, { recursive: true, mode: 0o700 })
  const [program = '', ...args] = sentryCommand(servers.sentry.path, { ...paths, sentry: temporary }, ports)
  const child = spawn(program, args, { stdio: 'ignore' })
  try {
    await poll(
      'sentry makes its certificates',
      async () => {
        if (child.exitCode !== null) throw new Error(`it ended with code ${child.exitCode}`)
        return readdirSync(temporary).includes('issuer.key') && (await answers(ports.sentryHealth))
      },
      { timeoutMs: 20_000 },
    )
  } finally {
    child.kill('SIGTERM')
    if (child.exitCode === null) await new Promise((resolve) => child.once('exit', resolve))
  }
  renameSync(temporary, paths.sentry)
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    get({ host: '127.0.0.1', port, path: '/healthz', timeout: 1_000 }, (response) => {
      response.resume()
      resolve(response.statusCode === 200)
    }).on('error', () => resolve(false))
  })
}
