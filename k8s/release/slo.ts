// Watches a canary and says whether it may take over:
//   node k8s/release/slo.ts --prometheus http://127.0.0.1:9090 --minutes 10
// Exit code 0: promote it. 1: roll it back. docs/releasing.md.
import { setTimeout } from 'node:timers/promises'
import { Command, InvalidArgumentError } from 'commander'
import { decide, slo, type Figures } from './decision.ts'
import { readFigures } from './prometheus.ts'

type Options = {
  prometheus: string
  namespace: string
  canary: string
  stable: string
  minutes: number
  interval: number
  minRequests: number
}

const options = new Command('slo')
  .description('watch a canary and decide: exit code 0 promotes it, 1 rolls it back')
  .requiredOption('--prometheus <url>', "Prometheus' address")
  .option('--namespace <name>', "the shop's namespace", 'shop')
  .option('--canary <service>', "the canary's label service", 'gateway-canary')
  .option('--stable <service>', 'that of the version that it would replace', 'gateway')
  .option('--minutes <count>', 'how long to watch', positive, 10)
  .option('--interval <seconds>', 'how often to ask', positive, 15)
  .option('--min-requests <count>', 'fewer prove nothing', positive, slo.minRequests)
  .parse()
  .opts<Options>()

process.exitCode = await watch(options)

async function watch({ prometheus, namespace, canary, stable, minutes, interval, minRequests }: Options) {
  const began = Date.now()
  for (;;) {
    const seconds = Math.ceil((Date.now() - began) / 1000)
    const isEnd = seconds >= minutes * 60
    const read = (service: string) =>
      readFigures(prometheus, { namespace, service, seconds: Math.max(seconds, 60) }).catch((error: Error) => {
        console.log(`${stamp()} ${error.message}`)
        return undefined
      })
    const figures: (Figures | undefined)[] = await Promise.all([read(canary), read(stable)])
    const { action, reason } = decide(figures[0], figures[1], isEnd, { ...slo, minRequests })
    console.log(`${stamp()} ${action}: ${reason}`)
    if (action !== 'wait') return action === 'promote' ? 0 : 1
    await setTimeout(Math.min(interval, Math.max(1, minutes * 60 - seconds)) * 1000)
  }
}

function stamp(): string {
  return new Date().toISOString().slice(11, 19)
}

function positive(text: string): number {
  const number = Number(text)
  if (!(number > 0)) throw new InvalidArgumentError('must be a positive number')
  return number
}
