import { Presets, SingleBar } from 'cli-progress'

export type ProgressBar = { step: (count?: number) => void; say: (line: string) => void; close: () => void }

/**
 * Creates a progress bar with the rate of the last seconds and the time left; outside a terminal, a
 * line at each tenth. `say` prints a line above the bar. `done`: how many are done already.
 */
export function createProgressBar(
  what: string,
  total: number,
  { done = 0, out = process.stderr }: { done?: number; out?: NodeJS.WriteStream } = {},
): ProgressBar {
  const rate = createRate(done)
  if (!out.isTTY) {
    let tenth = Math.floor((done * 10) / Math.max(1, total))
    return {
      step(count = 1) {
        done += count
        rate.add(done)
        const now = Math.floor((done * 10) / Math.max(1, total))
        if (now > tenth || done === total) out.write(`${what}: ${done} of ${total}, ${rate.perSecond()}/s\n`)
        tenth = now
      },
      say: (line) => void out.write(`${line}\n`),
      close: () => {},
    }
  }
  const bar = new SingleBar(
    {
      format: `${what} {bar} {value}/{total} | {rate}/s | {left} left`,
      stream: out,
      clearOnComplete: false,
      linewrap: false,
    },
    Presets.shades_classic,
  )
  const figures = () => ({ rate: rate.perSecond(), left: duration((total - done) / rate.perSecond()) })
  bar.start(total, done, figures())
  return {
    step(count = 1) {
      done += count
      rate.add(done)
      bar.update(done, figures())
    },
    say(line) {
      out.write(`\r\x1b[K${line}\n`)
      bar.render()
    },
    close: () => bar.stop(),
  }
}

const rateWindowMs = 10_000

/** Counts per second over the last ten seconds. */
function createRate(done: number) {
  const seen = [{ at: performance.now(), done }]
  return {
    add(now: number): void {
      const at = performance.now()
      seen.push({ at, done: now })
      while (seen.length > 2 && seen[1]!.at < at - rateWindowMs) seen.shift()
    },
    perSecond(): number {
      const [first, last] = [seen[0]!, seen.at(-1)!]
      return Math.round(((last.done - first.done) * 1000) / Math.max(1, last.at - first.at))
    },
  }
}

/** Returns a number of seconds as people read it. */
export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return '?'
  const whole = Math.ceil(seconds)
  const [hours, minutes] = [Math.floor(whole / 3_600), Math.floor(whole / 60) % 60]
  if (hours > 0) return `${hours} h ${minutes} min`
  return minutes > 0 ? `${minutes} min ${whole % 60} s` : `${whole} s`
}
