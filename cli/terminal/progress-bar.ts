import { Presets, SingleBar } from 'cli-progress'

export type ProgressBar = { step: () => void; say: (line: string) => void; close: () => void }

/**
 * Creates a progress bar with the time left; outside a terminal, a line at each tenth. `say` prints
 * a line above the bar.
 */
export function createProgressBar(what: string, total: number, out: NodeJS.WriteStream = process.stderr): ProgressBar {
  let done = 0
  if (!out.isTTY) {
    let tenth = 0
    return {
      step() {
        done++
        const now = Math.floor((done * 10) / Math.max(1, total))
        if (now > tenth || done === total) out.write(`${what}: ${done} of ${total}\n`)
        tenth = now
      },
      say: (line) => void out.write(`${line}\n`),
      close: () => {},
    }
  }
  const bar = new SingleBar(
    {
      format: `${what} {bar} {value}/{total} | {eta_formatted} left`,
      stream: out,
      etaBuffer: 100,
      clearOnComplete: false,
      linewrap: false,
    },
    Presets.shades_classic,
  )
  bar.start(total, 0)
  return {
    step: () => bar.update(++done),
    say(line) {
      out.write(`\r\x1b[K${line}\n`)
      bar.render()
    },
    close: () => bar.stop(),
  }
}
