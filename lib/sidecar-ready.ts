/**
 * Whether the sidecar can send calls on. `healthz/outbound`, as plain `healthz` also waits for this
 * very app. The answer is kept for a second, so that probes cost nothing, and comes within half of
 * one.
 */
export function sidecarReady(daprHttpPort: number): () => Promise<true | string> {
  let last: { at: number; answer: Promise<true | string> } | undefined
  return () => {
    if (!last || Date.now() - last.at > 1_000) last = { at: Date.now(), answer: probe(daprHttpPort) }
    return last.answer
  }
}

async function probe(port: number): Promise<true | string> {
  try {
    const { ok } = await fetch(`http://127.0.0.1:${port}/v1.0/healthz/outbound`, { signal: AbortSignal.timeout(500) })
    return ok || 'the sidecar is not ready'
  } catch {
    return 'the sidecar does not answer'
  }
}
