import { InvalidArgumentError, type Command } from 'commander'
import Table from 'cli-table3'
import { services, type ServiceName } from '../../platform/processes/services.ts'
import { deadLetters, type DeadLetter } from '../dead-letters/dead-letters.ts'
import { openDeadLetterTopic } from '../dead-letters/dead-letter-topic.ts'
import { localShop } from '../shop-data/local-shop.ts'

type Options = { brokers?: string; json?: boolean; all?: boolean }

const consumers = (Object.keys(services) as ServiceName[]).filter((name) => services[name].deadLetterTopics.length > 0)

/** Adds `dlq list|show|replay|drop`. */
export function register(program: Command): void {
  const dlq = program
    .command('dlq')
    .description('events that a service could not handle: list them, have them handled again, give them up')
    .addHelpText(
      'after',
      `
An event whose handler fails is parked in the dead-letter topic of its service, and so are all later ones of
its key. Correct the mistake, then replay: the events are handled in their order, and the key goes on by itself.`,
    )
  const add = (name: string, description: string) =>
    dlq
      .command(name)
      .description(description)
      .option('--brokers <addresses>', "Kafka's; default: SIDECART_BROKERS, else those of this clone's shop")

  add('list', 'the keys whose events wait, and why')
    .argument('[service]', `one of ${consumers.join(', ')}; default: all`, consumer)
    .option('--json', 'as JSON')
    .action(list)
  add('show', 'the events of a key, whole')
    .argument('<service>', 'the service that could not handle them', consumer)
    .argument('<key>', 'their key, such as an order id')
    .action(show)
  add('replay', 'have the events of a key handled again, in their order')
    .argument('<service>', 'the service that could not handle them', consumer)
    .argument('[key]', 'their key, such as an order id')
    .option('--all', 'of every key')
    .action(replay)
  add('drop', 'give the events of a key up: they will never be handled')
    .argument('<service>', 'the service that could not handle them', consumer)
    .argument('<key>', 'their key, such as an order id')
    .argument('[event]', 'only the one with this id')
    .action(drop)
}

function consumer(name: string): ServiceName {
  const found = consumers.find((each) => each === name)
  if (!found) throw new InvalidArgumentError(`It is one of ${consumers.join(', ')}.`)
  return found
}

function brokersOf({ brokers }: Options): string {
  const given = brokers ?? process.env['SIDECART_BROKERS']
  if (given) return given
  const shop = localShop()
  if (!shop) throw new Error('This clone has no shop yet: start one with npm start, or give --brokers.')
  return `127.0.0.1:${shop.ports.kafka}`
}

async function lettersOf(service: ServiceName, options: Options) {
  const topic = openDeadLetterTopic(brokersOf(options), service)
  return { topic, letters: deadLetters(await topic.records()) }
}

async function list(service: ServiceName | undefined, options: Options): Promise<void> {
  const found = []
  for (const name of service ? [service] : consumers) {
    const { letters } = await lettersOf(name, options)
    for (const [key, events] of letters) found.push({ service: name, key, events })
  }
  if (options.json)
    return console.log(
      JSON.stringify(
        found.map(({ service: name, key, events }) => ({
          service: name,
          key,
          events: events.map(({ event }) => event),
        })),
      ),
    )
  if (found.length === 0) return console.log('No events wait.')
  const table = new Table({ head: ['service', 'key', 'events', 'since', 'first event', 'reason'] })
  for (const { service: name, key, events } of found) {
    const [first] = events as [DeadLetter]
    const reason = first.reason === '' ? 'dropped: npm run logs tells why' : `${first.reason} (${first.attempts}x)`
    table.push([name, key, events.length, first.since.toISOString(), first.type, reason])
  }
  console.log(table.toString())
  console.log('npm run dlq -- show|replay|drop SERVICE KEY')
}

async function show(service: ServiceName, key: string, options: Options): Promise<void> {
  const { letters } = await lettersOf(service, options)
  console.log(
    JSON.stringify(
      required(letters, service, key).map(({ event }) => event),
      undefined,
      2,
    ),
  )
}

async function replay(service: ServiceName, key: string | undefined, options: Options): Promise<void> {
  if ((key === undefined) === !options.all) throw new Error('Give a key, or --all.')
  const { topic, letters } = await lettersOf(service, options)
  const chosen = key === undefined ? [...letters.values()] : [required(letters, service, key)]
  for (const [index, events] of chosen.entries()) {
    await topic.replay(events)
    console.log(`${index + 1} of ${chosen.length}: ${events[0]!.key}, ${events.length} events published again`)
  }
  console.log('Those that fail again come back: npm run dlq -- list')
}

async function drop(service: ServiceName, key: string, event: string | undefined, options: Options): Promise<void> {
  const { topic, letters } = await lettersOf(service, options)
  const events = required(letters, service, key).filter(({ id }) => event === undefined || id === event)
  if (events.length === 0) throw new Error(`No event ${event} of ${key} waits for ${service}.`)
  await topic.discard(events, services[service].subscribes[0]!)
  console.log(`${events.length} events of ${key} are given up.`)
}

function required(letters: Map<string, DeadLetter[]>, service: string, key: string): DeadLetter[] {
  const found = letters.get(key)
  if (!found) throw new Error(`No event of ${key} waits for ${service}.`)
  return found
}
