// Shows the steps of long work, with their time so far and their usual time: a live list in a
// terminal; elsewhere a line when a step starts and ends, and one every 30 s.
export type Step = { title: string; usualSeconds?: number; log?: string }

export type Progress = {
  /** Runs one step and shows it. @throws what `work` throws, after showing the step's log */
  step: <T>(step: Step, work: (note: (text: string) => void) => Promise<T>) => Promise<T>
  close: () => void
}

type Running = Step & { started: number; note: string }

export function createProgress(out: NodeJS.WriteStream = process.stderr): Progress {
  const live = Boolean(out.isTTY)
  const running = new Set<Running>()
  let drawn = 0
  let frame = 0

  const clear = () => {
    if (drawn > 0) out.write(`\x1b[${drawn}A\x1b[J`)
    drawn = 0
  }
  const draw = () => {
    if (!live) return
    clear()
    frame += 1
    for (const step of running) {
      const line = `${spinner[frame % spinner.length]} ${describeRunning(step)}`
      out.write(`${line.slice(0, (out.columns ?? 80) - 1)}\n`)
      drawn += 1
    }
  }
  const say = (line: string) => {
    clear()
    out.write(`${line}\n`)
    draw()
  }
  const timer = setInterval(
    () => {
      if (live) draw()
      else for (const step of running) out.write(`  … ${describeRunning(step)}\n`)
    },
    live ? 120 : 30_000,
  )
  timer.unref()

  return {
    async step(step, work) {
      const mine: Running = { ...step, started: Date.now(), note: '' }
      running.add(mine)
      if (live) draw()
      else if (step.usualSeconds !== undefined) say(`  ${describeRunning(mine)}`)
      try {
        const result = await work((text) => {
          mine.note = text
          if (!live) say(`  … ${describeRunning(mine)}`)
        })
        running.delete(mine)
        say(`✔ ${step.title} (${duration(Date.now() - mine.started)})`)
        return result
      } catch (error) {
        running.delete(mine)
        say(`✘ ${step.title} (${duration(Date.now() - mine.started)})${step.log ? `, see ${step.log}` : ''}`)
        throw error
      }
    },
    close() {
      clearInterval(timer)
      clear()
    },
  }
}

const spinner = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏']

function describeRunning(step: Running): string {
  const usual = step.usualSeconds ? ` of about ${duration(step.usualSeconds * 1000)}` : ''
  const note = step.note ? `, ${step.note}` : step.log ? `, log ${step.log}` : ''
  return `${step.title}: ${duration(Date.now() - step.started)}${usual}${note}`
}

/** "0.4 s", "12 s", "3 min 20 s" */
export function duration(ms: number): string {
  if (ms < 10_000) return `${(ms / 1000).toFixed(1)} s`
  const seconds = Math.round(ms / 1000)
  if (seconds < 60) return `${seconds} s`
  const rest = seconds % 60
  return `${Math.floor(seconds / 60)} min${rest ? ` ${rest} s` : ''}`
}
