// All commands of `npm start`, `npm test` and `npm run …`. The work of each is loaded only when it
// is called: loading is most of a short command's time.
import { Command, InvalidArgumentError, Option } from 'commander'
import { register as registerDlq } from './commands/dlq.ts'
import { register as registerImport } from './commands/import.ts'
import { register as registerLintK8s } from './commands/lint-k8s.ts'
import { register as registerRebuild } from './commands/rebuild.ts'
import { register as registerReconcile } from './commands/reconcile.ts'
import { register as registerSeed } from './commands/seed.ts'
import { register as registerTrace } from './commands/trace.ts'
import { register as registerUser } from './commands/user.ts'

const program = new Command('npm run')
  .description('Sidecart: an online shop on this machine')
  .showHelpAfterError()
  // `cluster kubectl` passes all that follows on.
  .enablePositionalOptions()
  .addHelpText(
    'after',
    `
start, stop and test also work without "run". Options follow two dashes: npm start -- --detach
PORT_BASE=20000 npm start runs a second shop alongside; the same variable names it in every other command.`,
  )

program
  .command('start')
  .description('start the shop; Ctrl-C stops it')
  .option('-d, --detach', 'leave it running in the background (npm stop ends it)')
  .action(async (options: { detach?: boolean }) => (await import('./commands/start.ts')).start(options))

program
  .command('stop')
  .description('stop the shop')
  .option('--all', "also this clone's other shops and the servers of its tests")
  .action(async (options: { all?: boolean }) => (await import('./commands/stop.ts')).stop(options))

program
  .command('status')
  .description('list each process with its health and memory')
  .option('--json', 'as JSON')
  .action(async (options: { json?: boolean }) => (await import('./commands/status.ts')).status(options))

program
  .command('logs')
  .argument('[names...]', 'processes as named by `npm run status`; default: all')
  .description('show logs')
  .option('-f, --follow', 'keep printing new lines')
  .option('-n, --lines <count>', 'how many of the last lines of each log', wholeNumber, 100)
  .action(async (names: string[], options: { follow?: boolean; lines: number }) =>
    (await import('./commands/logs.ts')).logs(names, options),
  )

program
  .command('tilt')
  .argument('[args...]', 'for Tilt, such as `up` or `ci`')
  .description('run Tilt, which is built first if it is not on PATH')
  .helpOption(false)
  .allowUnknownOption()
  .action(async (args: string[]) => (await import('./commands/tilt.ts')).tilt(args))

program
  .command('tilt-plan', { hidden: true })
  .description("prepare the shop for Tilt and write its processes as JSON: the Tiltfile's part")
  .requiredOption('--pid <pid>', "Tilt's process", wholeNumber)
  .requiredOption('--program <path>', "Tilt's program")
  .requiredOption('--output <file>', 'the file to write')
  .action(async (options: { pid: number; program: string; output: string }) =>
    (await import('./commands/tilt.ts')).writePlan(options),
  )

program
  .command('tilt-logins', { hidden: true })
  .description("create the demo logins of a shop that Tilt runs: a resource's part")
  .action(async () => (await import('./commands/tilt.ts')).createLogins())

program
  .command('tilt-image', { hidden: true })
  .argument('<name>', 'a target of images/Containerfile')
  .description('build an image and bring it into the cluster, for the Tiltfile')
  .requiredOption('--output <file>', 'the file to write its reference to')
  .action(async (name: string, options: { output: string }) =>
    (await import('./commands/tilt-cluster.ts')).loadImage(name, options.output),
  )

registerTrace(program)
registerSeed(program)
registerDlq(program)
registerImport(program)
registerUser(program)
registerRebuild(program)
registerReconcile(program)

const cluster = program
  .command('cluster')
  .description('the shop in a real Kubernetes cluster')
  .addHelpText(
    'after',
    `
A cluster of one node on this machine needs Linux and root. Elsewhere: kind, k3d or minikube, with up --context.
Its kubeconfig is .sidecart/cluster/kubeconfig. Each clone has its own; several run at once.`,
  )

cluster
  .command('up')
  .description('start a cluster of one node with the shop; bring it up to date if it runs')
  .option('--context <name>', 'use the cluster of a context of your kubeconfig instead')
  .option('--overlay <name>', 'with --context: another one of k8s/overlays than "local"')
  .option('--bare', 'without the shop: DNS, metrics-server and Dapr')
  .action(async (options: { bare?: boolean; context?: string; overlay?: string }) => (await loadCluster()).up(options))

cluster
  .command('test')
  .argument('[args...]', 'for vitest, such as one file')
  .description('run the tests of e2e/cluster; start a cluster for them if none runs')
  .option('--keep', 'leave the cluster running (npm run cluster -- down ends it)')
  .allowUnknownOption()
  .action(async (args: string[], options: { keep?: boolean }) => (await loadCluster()).test(args, options))

cluster
  .command('load')
  .argument('[images...]', 'such as orders or outbox-mysql; default: all')
  .description('build images again and replace the pods of those that changed')
  .action(async (images: string[]) => (await loadCluster()).load(images))

cluster
  .command('seed')
  .argument('[options...]', 'those of npm run seed, such as --products 50 --users 5')
  .description('create products, stock and shoppers in it, as its admin')
  .allowUnknownOption()
  .passThroughOptions()
  .action(async (args: string[]) => (await import('./commands/tilt-cluster.ts')).seedCluster(args))

cluster
  .command('status')
  .description('list nodes and pods, with what each waits for, restarts and memory')
  .action(async () => (await loadCluster()).status())

cluster
  .command('kubectl')
  .argument('[args...]')
  .description('run kubectl on it')
  .allowUnknownOption()
  .helpOption(false)
  .passThroughOptions()
  .action(async (args: string[]) => (await loadCluster()).kubectl(args))

cluster
  .command('down')
  .description('stop it; all data are deleted, its images are kept for the next start')
  .option('--purge', 'delete the images too')
  .action(async (options: { purge?: boolean }) => (await loadCluster()).down(options))

const loadCluster = () => import('./commands/cluster.ts')

program
  .command('reset')
  .description('empty the shop: all accounts, products, orders and events')
  .action(async () => (await import('./commands/reset.ts')).reset())

program
  .command('doctor')
  .description('show where each part was found, its version, and how to get what is missing')
  .action(async () => (await import('./commands/doctor.ts')).doctor())

program
  .command('test')
  .argument('[args...]', 'for vitest, such as one file')
  .description('run all checks and tests, against real servers')
  .option('--keep', 'leave the servers of *.int.test.ts running for the next run (npm stop -- --all ends them)')
  .option('--cluster', 'also the tests in a real cluster (npm run cluster -- test runs them alone)')
  .allowUnknownOption()
  .action(async (args: string[], options: { keep?: boolean; cluster?: boolean }) =>
    (await import('./commands/test.ts')).test(args, options),
  )

program
  .command('conformance')
  .argument('[flags...]', 'for the suite, such as -test.run /outbox-mysql/etag')
  .description("run Dapr's own conformance suite against both outbox stores and print each case")
  .allowUnknownOption()
  .action(async (flags: string[]) => (await import('./commands/conformance.ts')).conformance(flags))

const onlyDatabase = () => new Option('--only <database>', 'one database').choices(['mysql', 'mongodb'])
type Database = 'mysql' | 'mongodb'

const chaos = program.command('chaos').description('kill processes at random under load, then check every promise')

chaos
  .command('outbox')
  .description(
    `kill -9 component, sidecar, service, Kafka and database of the outbox stores;
no committed event may be lost or out of order (200 kills take about 13 minutes)`,
  )
  .option('--kills <count>', 'how many kills, divided between the databases', wholeNumber, 200)
  .option('--seed <number>', 'repeat the kills and pauses of an earlier run, which printed its seed', wholeNumber)
  .addOption(onlyDatabase())
  .action(async (options: { kills: number; seed?: number; only?: Database }) =>
    (await import('./commands/chaos.ts')).chaosOutbox(options),
  )

chaos
  .command('backlog')
  .description(
    `a long outage of Kafka: rows of 1 KB pile up in the outbox, then drain in order
and in bounded memory`,
  )
  .option('--rows <count>', 'how many rows', wholeNumber, 1_000_000)
  .addOption(onlyDatabase())
  .action(async (options: { rows: number; only?: Database }) =>
    (await import('./commands/chaos.ts')).chaosBacklog(options),
  )

chaos
  .command('shop')
  .description(
    `kill and stop services, sidecars, components and servers of a whole shop, with two replicas of
those that handle orders; then every accepted order must be terminal, and npm run reconcile agree`,
  )
  .option('--minutes <count>', 'for how long', wholeNumber, 10)
  .option('--kills <count>', 'until there were this many kills, instead of for a time', wholeNumber)
  .option('--seed <number>', 'repeat the plan of an earlier run, which printed its seed', wholeNumber)
  .option('--keep', 'leave the shop running (npm stop -- --all ends it)')
  .action(async (options: { minutes: number; kills?: number; seed?: number; keep?: boolean }) =>
    (await import('./commands/chaos.ts')).chaosShop(options),
  )

registerLintK8s(program)

const bench = program.command('bench').description('measure, and write the results to bench/results')

bench
  .command('outbox')
  .description(
    `compare the outbox stores with Dapr's built-in outbox and with the plain drivers,
on both databases (about 15 minutes)`,
  )
  .option('--quick', 'about a minute: shows whether something broke, not figures to quote')
  .addOption(onlyDatabase())
  .option('--keep', 'leave the servers running for the next run (npm stop -- --all ends them)')
  .action(async (options: { quick?: boolean; only?: Database; keep?: boolean }) =>
    (await import('../bench/outbox.ts')).benchOutbox(options),
  )

bench
  .command('orders')
  .description(
    `how many orders a second become CONFIRMED, how fast, and what each costs, beside bare calls
through two sidecars, in a shop of its own (about 6 minutes)`,
  )
  .option('--quick', 'about a minute: shows whether something broke, not figures to quote')
  .option('--running', 'in the shop that runs (PORT_BASE), which is left as it is then, with the orders')
  .option('--orders <count>', 'repeat the fastest load when this many orders are there', wholeNumber)
  .option('--no-write', 'print the report only')
  .action(async (options: { quick?: boolean; running?: boolean; orders?: number; write: boolean }) =>
    (await import('../bench/orders.ts')).benchOrders(options),
  )

bench
  .command('catalogue')
  .description(
    `how fast products are seeded, read, filtered and found at 10,000, 100,000 and 1,000,000 of
them, and hot pages at the edge, in a shop of its own; --products chooses fewer`,
  )
  .option('--quick', 'with 2,000 products: shows whether something broke, not figures to quote')
  .option('--running', 'in the shop that runs (PORT_BASE), which keeps the products')
  .option('--products <counts>', 'sizes of the catalogue, such as 10000,100000', (text: string) =>
    text.split(',').map(wholeNumber),
  )
  .option('--no-write', 'print the report only')
  .action(async (options: { quick?: boolean; running?: boolean; products?: number[]; write: boolean }) =>
    (await import('../bench/catalogue.ts')).benchCatalogue(options),
  )

function wholeNumber(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError('must be a whole number, 1 or more')
  return Number(text)
}

try {
  await program.parseAsync()
} catch (error) {
  // People need the reason; the stack is for DEBUG=1.
  console.error(process.env['DEBUG'] ? error : `\n${(error as Error).message}`)
  process.exitCode = 1
}
