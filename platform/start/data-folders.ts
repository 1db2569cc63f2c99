// The data folders of the servers that this shop runs itself, each created completely or not at
// all.
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Servers } from '../parts/ensure.ts'
import { runLogged } from '../parts/run-logged.ts'
import type { Context } from '../processes/context.ts'
import { isMariaDb, mysqlTemporary } from '../processes/servers.ts'
import type { Progress } from '../progress.ts'

/** Creates the data folders that do not exist yet. @throws Error that names the log */
export async function createDataFolders(context: Context, progress: Progress): Promise<void> {
  const { servers, paths } = context
  mkdirSync(paths.data, { recursive: true, mode: 0o700 })
  mkdirSync(join(paths.data, 'mongodb'), { recursive: true })
  mkdirSync(join(paths.data, 'payment-sandbox'), { recursive: true })
  mkdirSync(join(paths.data, 'mailbox'), { recursive: true })
  mkdirSync(mysqlTemporary(paths), { recursive: true })
  const log = join(paths.logs, 'prepare.log')
  const created: Promise<void>[] = []
  const { mysql } = servers
  if (mysql && mysql.from !== 'address' && !existsSync(join(paths.data, 'mysql'))) {
    created.push(
      progress.step({ title: 'MySQL: new data folder', log }, () =>
        initialiseMysql(mysql, join(paths.data, 'mysql'), mysqlTemporary(paths), log),
      ),
    )
  }
  if (servers.kafka && servers.kafka.from !== 'address' && !existsSync(join(paths.data, 'kafka', 'meta.properties'))) {
    created.push(progress.step({ title: 'Kafka: new data folder', log }, () => formatKafka(context, log)))
  }
  await Promise.all(created)
}

type Program = Exclude<Servers['mysql'], { from: 'address' }>

/** Creates a data folder in which root has no password. @throws Error that names the log */
export async function initialiseMysql(
  mysql: Program,
  folder: string,
  temporaryFiles: string,
  log: string,
): Promise<void> {
  const temporary = `${folder}.new`
  rmSync(temporary, { recursive: true, force: true })
  // A separate one: a second MariaDB that starts at the same time deletes what it finds in /tmp.
  const env = { ...process.env, TMPDIR: temporaryFiles }
  const asRoot = process.getuid?.() === 0 ? ['--user=root'] : []
  if (isMariaDb({ mysql })) {
    const base = dirname(dirname(mysql.path))
    const isUnpacked = mysql.from === 'cache'
    const program = [join(base, 'scripts', 'mariadb-install-db'), join(base, 'bin', 'mariadb-install-db')].find(
      (file) => existsSync(file),
    )
    await runLogged(
      log,
      program ?? 'mariadb-install-db',
      [
        '--no-defaults',
        ...asRoot,
        ...(isUnpacked ? [`--basedir=${base}`] : []),
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
  // A folder that was formatted only in part has no meta.properties and is formatted again.
  rmSync(join(paths.data, 'kafka'), { recursive: true, force: true })
  await runLogged(log, 'java', [
    '-XX:TieredStopAtLevel=1',
    '-cp',
    `${kafka.path}/*`,
    'kafka.tools.StorageTool',
    'format',
    // As one word: one of 64 random ids begins with a dash and would be parsed as an option.
    `--cluster-id=${secrets.kafkaClusterId}`,
    '--config',
    join(paths.generated, 'kafka.properties'),
  ])
}
