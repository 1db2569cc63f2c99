/**
 * Returns a check that the sidecar can send calls, which is all the readiness a service has: its
 * components are initialised by then, and a database that fails later is an error of each call, not
 * a reason to take the service out. The check asks `healthz/outbound`, since plain `healthz` also
 * waits for this very app. It resolves within half a second and keeps its result for one second, so
 * frequent probes cost nothing.
 */
export function sidecarReady(daprHttpPort: number): () => Promise<true | string> {
  let last: { at: number; result: Promise<true | string> } | undefined
  return () => {
    if (!last || Date.now() - last.at > 1_000) last = { at: Date.now(), result: probe(daprHttpPort) }
    return last.result
  }
}

async function probe(port: number): Promise<true | string> {
  try {
    const { ok } = await fetch(`http://127.0.0.1:${port}/v1.0/healthz/outbound`, { signal: AbortSignal.timeout(500) })
    return ok || 'the sidecar is not ready'
  } catch {
    return 'the sidecar does not respond'
  }
}
