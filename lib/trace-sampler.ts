import { isSpanContextValid, SamplingDecision, trace, TraceFlags, type Context, type Sampler } from '@opentelemetry/api'

/**
 * Returns a sampler that takes up to `perSecond` new traces a second, at once or spread (0: none,
 * Infinity: all), and follows the parent's decision in all others. `limitCallers`: of the traces
 * that remote callers want sampled it takes as many again and no more. So strangers cannot have it
 * all, and whoever asks for a trace gets it in a busy shop too.
 */
export function createTraceSampler(
  perSecond: number,
  { limitCallers = false, now = () => performance.now() }: { limitCallers?: boolean; now?: () => number } = {},
): Sampler {
  const takeNew = createBucket(perSecond, now)
  const takeWanted = createBucket(perSecond, now)

  function isSampled(context: Context): boolean {
    const parent = trace.getSpanContext(context)
    if (!parent || !isSpanContextValid(parent)) return takeNew()
    if ((parent.traceFlags & TraceFlags.SAMPLED) === 0) return false
    return limitCallers && parent.isRemote === true ? takeWanted() : true
  }

  return {
    shouldSample: (context) => ({
      decision: isSampled(context) ? SamplingDecision.RECORD_AND_SAMPLED : SamplingDecision.NOT_RECORD,
    }),
    toString: () => `TraceSampler{${perSecond}/s}`,
  }
}

/** Returns a function that takes one token, and whether there was one: a second's worth at most. */
function createBucket(perSecond: number, now: () => number): () => boolean {
  if (perSecond === Infinity) return () => true
  let tokens = perSecond
  let filledAt = now()
  return () => {
    const at = now()
    tokens = Math.min(perSecond, tokens + ((at - filledAt) / 1000) * perSecond)
    filledAt = at
    if (tokens < 1) return false
    tokens -= 1
    return true
  }
}
