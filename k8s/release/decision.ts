// Whether a canary may take over. Pure: figures in, a decision out.

/** Of one version, since the canary began. */
export type Figures = {
  requests: number
  /** Answered with a 5xx. */
  failed: number
  /** Answered later than promised. */
  slow: number
}

export type Rules = {
  /** Below this many requests of the canary, nothing is known. */
  minRequests: number
  /** What the promise allows to fail (k8s/components/monitors/slo.yaml). */
  errorBudget: number
  /** What the promise allows to be slow. */
  slowBudget: number
  /** Times a budget at which the canary is ended at once. */
  fastBurn: number
}

export const slo: Rules = { minRequests: 200, errorBudget: 0.001, slowBudget: 0.01, fastBurn: 14.4 }

export type Decision = { action: 'promote' | 'roll back' | 'wait'; reason: string }

/**
 * Decides by the canary's figures and those of the version that it would replace, of the same time.
 * - One that burns a budget 14.4 times too fast, as the alert that pages, is rolled back at once.
 * - At the end it must keep within its budgets, or be no worse than the old version: what fails for
 *   both, say a database that is away, is no fault of the canary.
 * - Too few requests at the end prove nothing, and what is not proven is not promoted.
 * @param canary undefined while Prometheus has no answer
 */
export function decide(
  canary: Figures | undefined,
  stable: Figures | undefined,
  isEnd: boolean,
  rules: Rules = slo,
): Decision {
  if (canary === undefined || canary.requests < rules.minRequests) {
    const seen = `${Math.round(canary?.requests ?? 0)} of ${rules.minRequests} requests seen`
    return isEnd ? { action: 'roll back', reason: `${seen}: too few to judge` } : { action: 'wait', reason: seen }
  }
  const ratios = [
    { what: 'failed', of: (figures: Figures) => figures.failed, budget: rules.errorBudget },
    { what: 'were slow', of: (figures: Figures) => figures.slow, budget: rules.slowBudget },
  ]
  for (const { what, of, budget } of ratios) {
    const ratio = of(canary) / canary.requests
    const old = stable && stable.requests > 0 ? of(stable) / stable.requests : 0
    const allowed = isEnd ? budget : budget * rules.fastBurn
    // Twice the old version's: two samples of the same truth differ.
    if (ratio > allowed && ratio > old * 2)
      return {
        action: 'roll back',
        reason:
          `${percent(ratio)} of the canary's requests ${what}; ${percent(allowed)} may, ` +
          `and the old version has ${percent(old)}`,
      }
  }
  const { requests, failed, slow } = canary
  const ofAll = (count: number) => percent(count / requests)
  const reason = `${Math.round(requests)} requests, ${ofAll(failed)} failed, ${ofAll(slow)} slow`
  return { action: isEnd ? 'promote' : 'wait', reason }
}

const percent = (ratio: number) => `${(ratio * 100).toFixed(2)}%`
