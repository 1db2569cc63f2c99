// All commands of `npm start`, `npm test` and `npm run …`. Each is loaded only when it is called:
// most of a short command's time is loading.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { Command, InvalidArgumentError, Option } from 'commander'

const program = new Command('npm').description('Sidecart: an online shop on this machine').showHelpAfterError()

program
  .command('start')
  .description('start the shop; Ctrl-C stops it')
  .option('-d, --detach', 'leave it running in the background (npm stop ends it)')
  .action(async (options: { detach?: boolean }) => (await import('./commands/start.ts')).start(options))

program
  .command('stop')
  .description('stop the shop')
  .option('--all', "also this clone's other shops and the tests' servers")
  .action(async (options: { all?: boolean }) => (await import('./commands/stop.ts')).stop(options))

program
  .command('status')
  .description('each process, its health and its memory')
  .option('--json', 'as JSON')
  .action(async (options: { json?: boolean }) => (await import('./commands/status.ts')).status(options))

program
  .command('logs')
  .argument('[names...]', 'processes, as `npm run status` names them; all when none is given')
  .description('show logs')
  .option('-f, --follow', 'go on as lines come')
  .option('-n, --lines <count>', 'how many lines of each to begin with', '100')
  .action(async (names: string[], options: { follow?: boolean; lines: string }) =>
    (await import('./commands/logs.ts')).logs(names, options),
  )

program
  .command('reset')
  .description('empty the shop: all accounts, products, orders and events')
  .action(async () => (await import('./commands/reset.ts')).reset())

program
  .command('doctor')
  .description('where each part was found, its version, and how to get what is missing')
  .action(async () => (await import('./commands/doctor.ts')).doctor())

program
  .command('test')
  .argument('[args...]', 'for vitest; a file to run it alone')
  .description('check and test everything, against real servers')
  .option('--keep', 'leave the servers of *.int.test.ts running, for a faster next time (npm stop -- --all ends them)')
  .allowUnknownOption()
  .action(async (args: string[], options: { keep?: boolean }) =>
    (await import('./commands/test.ts')).test(args, options),
  )

program
  .command('conformance')
  .argument('[flags...]', 'for the suite, such as -test.run /outbox-mysql/etag')
  .description("run Dapr's own conformance suite against both outbox stores and print each case")
  .allowUnknownOption()
  .action(async (flags: string[]) => (await import('./commands/conformance.ts')).conformance(flags))

const chaos = program
  .command('chaos')
  .description('kill everything at random moments under load, and look at what came of it')

chaos
  .command('outbox')
  .description(
    'the outbox stores: kill -9 of component, sidecar, service, Kafka and database; nothing committed may be lost or out of order (200 kills: about 13 minutes)',
  )
  .option('--kills <count>', 'how many kills, divided between the databases', wholeNumber, 200)
  .option('--seed <number>', 'the same kills and pauses as an earlier run, which printed its seed', wholeNumber)
  .addOption(new Option('--only <database>', 'one database').choices(['mysql', 'mongodb']))
  .action(async (options: { kills: number; seed?: number; only?: 'mysql' | 'mongodb' }) =>
    (await import('./commands/chaos.ts')).chaosOutbox(options),
  )

chaos
  .command('backlog')
  .description(
    'a long outage of Kafka: rows of 1 KB wait in the outbox and are then drained, in order and in bounded memory',
  )
  .option('--rows <count>', 'how many rows', wholeNumber, 1_000_000)
  .addOption(new Option('--only <database>', 'one database').choices(['mysql', 'mongodb']))
  .action(async (options: { rows: number; only?: 'mysql' | 'mongodb' }) =>
    (await import('./commands/chaos.ts')).chaosBacklog(options),
  )

const bench = program.command('bench').description('measure, and write the result to bench/results')

bench
  .command('outbox')
  .description(
    "the outbox stores beside Dapr's built-in outbox and the plain drivers, on both databases (about 15 minutes)",
  )
  .option('--quick', 'about a minute: to see whether something broke, not to quote')
  .addOption(new Option('--only <database>', 'one database').choices(['mysql', 'mongodb']))
  .option('--keep', 'leave the servers running, for a faster next time (npm stop -- --all ends them)')
  .action(async (options: { quick?: boolean; only?: 'mysql' | 'mongodb'; keep?: boolean }) =>
    (await import('../bench/outbox.ts')).benchOutbox(options),
  )

// Commands that speak to a running shop. Each file exports `register(program)`, which adds its
// command.
for (const name of ['import', 'seed', 'user']) {
  const file = join(import.meta.dirname, 'commands', `${name}.ts`)
  if (process.argv[2] === name && existsSync(file)) {
    const { register } = (await import(file)) as { register: (program: Command) => void }
    register(program)
  }
}

function wholeNumber(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError('a whole number from 1 on')
  return Number(text)
}

try {
  await program.parseAsync()
} catch (error) {
  // What went wrong, not where in our code: unless somebody asks.
  console.error(process.env['DEBUG'] ? error : `\n${(error as Error).message}`)
  process.exitCode = 1
}
