// Loads the edge with wrk, which needs a tenth of the CPU that Node would: what is measured shares
// the machine with it.
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { EdgeLoad } from './catalogue-result.ts'

const execute = promisify(execFile)

/** Percentiles in microseconds, and the counters that wrk keeps. */
const done = `
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("\\nRESULT %d %d %d %d %d %d\\n", summary.requests, summary.duration, summary.bytes,
    latency:percentile(50), latency:percentile(99), e.connect + e.read + e.write + e.status + e.timeout))
end
`

/**
 * Requests paths for some time, 99% of them among the first hundredth.
 * @param program of wrk
 */
export async function wrk(
  program: string,
  { url, paths, connections, seconds }: { url: string; paths: string[]; connections: number; seconds: number },
): Promise<EdgeLoad> {
  const folder = mkdtempSync(join(tmpdir(), 'wrk-'))
  try {
    const script = join(folder, 'paths.lua')
    writeFileSync(
      script,
      `local paths = {${paths.map((path) => JSON.stringify(path)).join(',\n')}}
local hot = math.max(1, math.floor(#paths / 100))
local requests = {}
init = function() for i, path in ipairs(paths) do requests[i] = wrk.format("GET", path) end end
request = function()
  if math.random(100) <= 99 then return requests[math.random(hot)] end
  return requests[math.random(#requests)]
end
${done}`,
    )
    const args = ['-t1', `-c${connections}`, `-d${seconds}s`, '--timeout', '5s', '-s', script, url]
    const { stdout } = await execute(program, args)
    const figures = /RESULT (\d+) (\d+) (\d+) (\d+) (\d+) (\d+)/.exec(stdout)?.slice(1).map(Number)
    if (!figures) throw new Error(`wrk says: ${stdout}`)
    const [count, micros, bytes, p50, p99, failed] = figures as [number, number, number, number, number, number]
    return {
      perSecond: (count - failed) / (micros / 1e6),
      p50Ms: p50 / 1_000,
      p99Ms: p99 / 1_000,
      failed,
      bytes: bytes / Math.max(1, count),
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
}
