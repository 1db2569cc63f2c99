// Servers that require certificates and passwords, for tests of the components' clients. Each is a
// process on a free port, with a temporary folder. The shop's own servers on loopback have no TLS.
import { randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { MongoClient } from 'mongodb'
import { startChild } from '../child.ts'
import { initialiseMysql } from '../start/data-folders.ts'
import { createProgress } from '../progress.ts'
import { buildOnce } from '../parts/ensure.ts'
import { findPart } from '../parts/find.ts'
import { ensureKafkaArchive } from '../parts/kafka-archive.ts'
import { parts } from '../parts/parts.ts'
import { runLogged } from '../parts/run-logged.ts'
import { createAuthority, type Authority, type Certificate } from '../certificates.ts'
import { freePorts } from '../free-ports.ts'

type Secured = {
  /** Signed the server's certificate. */
  authority: Authority
  /** Unknown to the server. */
  stranger: Authority
  /** Ends the server and removes its files. */
  close: () => Promise<void>
}

const newPassword = () => randomBytes(12).toString('hex')

/**
 * Finds or builds a server's program, even if the environment names the address of a running
 * server.
 */
export async function ensureProgram(name: 'mysql' | 'mongodb' | 'kafka') {
  const find = () => findPart(name, { ...process.env, [parts[name].addressVariable ?? '']: '' })
  if (find().from === 'nowhere') {
    const progress = createProgress()
    await buildOnce(parts[name], progress).finally(() => progress.close())
  }
  const found = find()
  if (found.from === 'nowhere' || found.from === 'address') throw new Error(`${name} was not found: ${found.detail}`)
  return found
}

type Start = { folder: string; command: string[]; port: number }

/**
 * Starts a server that was prepared in `folder` and waits until it accepts connections.
 * @returns a function that ends it and removes the folder
 * @throws Error with the end of its output when it does not start within 90 s
 */
export async function runServer(
  name: string,
  { folder, log, command, port }: Start & { log: string },
): Promise<() => Promise<void>> {
  const [program = '', ...args] = command
  const child = startChild(program, args, { cwd: folder, log })
  const close = async () => {
    await child.kill('SIGTERM', 15_000)
    rmSync(folder, { recursive: true, force: true })
  }
  try {
    await child.ready(`${name} listens`, () => accepts(port), 90_000)
  } catch (error) {
    await close()
    throw error
  }
  return close
}

/**
 * Starts a server in a new folder; `start` prepares it and returns its command.
 * @throws Error with the end of its output when it does not start
 */
async function startSecured<T>(
  name: string,
  start: (prepared: { folder: string; log: string; authority: Authority }) => Promise<Start & { more: T }>,
): Promise<Secured & T> {
  const folder = mkdtempSync(join(tmpdir(), `${name}-`))
  const log = join(folder, 'server.log')
  const remove = () => rmSync(folder, { recursive: true, force: true })
  try {
    const authority = createAuthority(folder, 'authority')
    const stranger = createAuthority(folder, 'stranger')
    const { command, port, more } = await start({ folder, log, authority })
    const close = await runServer(name, { folder, log, command, port })
    return { authority, stranger, close, ...more }
  } catch (error) {
    remove()
    throw error
  }
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const connection = connect(port, '127.0.0.1', () => {
      connection.destroy()
      resolve(true)
    })
    connection.once('error', () => resolve(false))
  })
}

export type SecuredMysql = Secured & {
  port: number
  /** May connect with or without TLS. */
  administrator: { user: string; password: string }
  /** May connect with TLS only. */
  careful: { user: string; password: string }
}

/** Starts a MySQL or MariaDB whose certificate is for `localhost` and not for 127.0.0.1. */
export async function startSecuredMysql(): Promise<SecuredMysql> {
  const mysql = await ensureProgram('mysql')
  return startSecured('mysql', async ({ folder, log, authority }) => {
    const [port = 0] = await freePorts(1)
    const [administrator, careful] = [
      { user: 'administrator', password: newPassword() },
      { user: 'careful', password: newPassword() },
    ]
    const temporary = join(folder, 'tmp')
    mkdirSync(temporary)
    await initialiseMysql(mysql, join(folder, 'data'), temporary, log)
    const { certFile, keyFile } = authority.issue('mysql', ['DNS:localhost'])
    writeFileSync(
      join(folder, 'init.sql'),
      [
        `CREATE USER 'administrator'@'127.0.0.1' IDENTIFIED BY '${administrator.password}'`,
        `GRANT ALL PRIVILEGES ON *.* TO 'administrator'@'127.0.0.1' WITH GRANT OPTION`,
        `CREATE USER 'careful'@'127.0.0.1' IDENTIFIED BY '${careful.password}' REQUIRE SSL`,
        `GRANT ALL PRIVILEGES ON *.* TO 'careful'@'127.0.0.1'`,
        '',
      ].join(';\n'),
    )
    const command = [
      mysql.path,
      '--no-defaults',
      ...(mysql.from === 'cache' ? [`--basedir=${dirname(dirname(mysql.path))}`] : []),
      ...(process.getuid?.() === 0 ? ['--user=root'] : []),
      `--datadir=${join(folder, 'data')}`,
      `--tmpdir=${temporary}`,
      `--port=${port}`,
      '--bind-address=127.0.0.1',
      `--socket=${join(folder, 's')}`,
      `--pid-file=${join(folder, 'pid')}`,
      `--init-file=${join(folder, 'init.sql')}`,
      '--skip-name-resolve',
      '--innodb-buffer-pool-size=64M',
      `--ssl-ca=${authority.certFile}`,
      `--ssl-cert=${certFile}`,
      `--ssl-key=${keyFile}`,
    ]
    return { folder, command, port, more: { port, administrator, careful } }
  })
}

export type SecuredMongodb = Secured & {
  port: number
  administrator: { user: string; password: string }
}

/**
 * Starts a SecantusDB that accepts TLS connections only. Its certificate is for 127.0.0.1, its name
 * in its replica set, and not for localhost. Returns undefined if the MongoDB found is another
 * server, which would need other options.
 */
export async function startSecuredMongodb(): Promise<SecuredMongodb | undefined> {
  const mongodb = await ensureProgram('mongodb')
  if (!/secantus/.test(mongodb.path)) return undefined
  const server = await startSecured('mongodb', async ({ folder, authority }) => {
    const [port = 0] = await freePorts(1)
    const { certFile, keyFile } = authority.issue('mongodb', ['IP:127.0.0.1'])
    const command = [
      mongodb.path,
      '--host',
      '127.0.0.1',
      '--port',
      String(port),
      '--storage-path',
      join(folder, 'data'),
      '--auth',
      '--cache-size',
      '64M',
      '--tls-cert-file',
      certFile,
      '--tls-key-file',
      keyFile,
    ]
    return { folder, command, port, more: { port, administrator: { user: 'administrator', password: newPassword() } } }
  })
  // The first user may be created without logging in.
  const { port, authority, administrator } = server
  const client = new MongoClient(`mongodb://127.0.0.1:${port}`, {
    directConnection: true,
    tlsCAFile: authority.certFile,
    tls: true,
    serverSelectionTimeoutMS: 10_000,
  })
  try {
    await client.db('admin').command({ createUser: administrator.user, pwd: administrator.password, roles: ['root'] })
  } catch (error) {
    await server.close()
    throw error
  } finally {
    await client.close()
  }
  return server
}

export type SecuredKafka = Secured & {
  /** `host:port` by what a client must present. */
  brokers: { plaintext: string; saslPlaintext: string; saslSsl: string; ssl: string; mutualSsl: string }
  user: { name: string; password: string }
  /** Accepted by mutualSsl. */
  client: Certificate
  log: () => string
}

/**
 * Starts a Kafka broker with five listeners: open; password (PLAIN) without TLS; password
 * (SCRAM-SHA-256 or -512) with TLS; TLS; TLS with a client certificate. Its own certificate is for
 * 127.0.0.1.
 */
export async function startSecuredKafka(): Promise<SecuredKafka> {
  const kafka = await ensureProgram('kafka')
  const progress = createProgress()
  const archive = kafka.from === 'cache' ? await ensureKafkaArchive(kafka.path, progress) : undefined
  progress.close()
  return startSecured('kafka', async ({ folder, log, authority }) => {
    const names = ['PLAINTEXT', 'PASSWORD', 'SCRAM', 'TLS', 'MUTUAL', 'CONTROLLER'] as const
    const ports = await freePorts(names.length)
    const at = (name: (typeof names)[number]) => `127.0.0.1:${ports[names.indexOf(name)]}`
    const user = { name: 'relay', password: newPassword() }
    const server = authority.issue('kafka', ['IP:127.0.0.1'])
    writeFileSync(join(folder, 'server.pem'), server.key + server.cert)
    const jaas = 'org.apache.kafka.common.security'
    const login = `user_${user.name}="${user.password}"`
    const properties = {
      'process.roles': 'broker,controller',
      'node.id': 1,
      'controller.quorum.voters': `1@${at('CONTROLLER')}`,
      listeners: names.map((name) => `${name}://${at(name)}`).join(','),
      'listener.security.protocol.map':
        'PLAINTEXT:PLAINTEXT,PASSWORD:SASL_PLAINTEXT,SCRAM:SASL_SSL,TLS:SSL,MUTUAL:SSL,CONTROLLER:PLAINTEXT',
      'inter.broker.listener.name': 'PLAINTEXT',
      'controller.listener.names': 'CONTROLLER',
      'listener.name.password.sasl.enabled.mechanisms': 'PLAIN',
      'listener.name.password.plain.sasl.jaas.config': `${jaas}.plain.PlainLoginModule required ${login};`,
      'listener.name.scram.sasl.enabled.mechanisms': 'SCRAM-SHA-256,SCRAM-SHA-512',
      'listener.name.scram.scram-sha-256.sasl.jaas.config': `${jaas}.scram.ScramLoginModule required;`,
      'listener.name.scram.scram-sha-512.sasl.jaas.config': `${jaas}.scram.ScramLoginModule required;`,
      'listener.name.mutual.ssl.client.auth': 'required',
      'ssl.keystore.type': 'PEM',
      'ssl.keystore.location': join(folder, 'server.pem'),
      'ssl.truststore.type': 'PEM',
      'ssl.truststore.location': authority.certFile,
      'log.dirs': join(folder, 'data'),
      'auto.create.topics.enable': false,
      'offsets.topic.replication.factor': 1,
      'offsets.topic.num.partitions': 1,
      'transaction.state.log.replication.factor': 1,
      'transaction.state.log.min.isr': 1,
      'group.initial.rebalance.delay.ms': 0,
    }
    const file = join(folder, 'kafka.properties')
    writeFileSync(
      file,
      Object.entries(properties)
        .map(([name, value]) => `${name}=${value}\n`)
        .join(''),
      { mode: 0o600 },
    )
    const java = [
      'java',
      '-Xmx256m',
      '-XX:+UseSerialGC',
      '-XX:TieredStopAtLevel=1',
      '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn',
    ]
    const [program = '', ...options] = java
    await runLogged(log, program, [
      ...options,
      '-cp',
      `${kafka.path}/*`,
      'kafka.tools.StorageTool',
      'format',
      '--cluster-id',
      'AAAAAAAAQACAAAAAAAAAAA',
      '--config',
      file,
      ...[256, 512].flatMap((bits) => [
        '--add-scram',
        `SCRAM-SHA-${bits}=[name=${user.name},password=${user.password}]`,
      ]),
    ])
    const command = [
      ...java,
      ...(archive ? [`-XX:SharedArchiveFile=${archive}`] : []),
      '-cp',
      `${kafka.path}/*`,
      'kafka.Kafka',
      file,
    ]
    const more = {
      brokers: {
        plaintext: at('PLAINTEXT'),
        saslPlaintext: at('PASSWORD'),
        saslSsl: at('SCRAM'),
        ssl: at('TLS'),
        mutualSsl: at('MUTUAL'),
      },
      user,
      client: authority.issue('relay'),
      log: () => readFileSync(log, 'utf8'),
    }
    return { folder, command, port: Number(at('MUTUAL').split(':')[1]), more }
  })
}
