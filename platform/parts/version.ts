// Versions as the servers print them, and whether one fits.

/**
 * The first dotted number in what a program prints for --version, as numbers. Undefined when there
 * is none.
 */
export function parseVersion(text: string): number[] | undefined {
  const found = /\d+(?:\.\d+)+/.exec(text)
  return found?.[0].split('.').map(Number)
}

/**
 * Whether a version lies in a range: at least `from`, and below `below` when that is given.
 * Compared part by part; missing parts are 0.
 */
export function fits(version: number[], from: number[], below?: number[]): boolean {
  return compare(version, from) >= 0 && (below === undefined || compare(version, below) < 0)
}

function compare(a: number[], b: number[]): number {
  for (let i = 0; i < Math.max(a.length, b.length); i += 1) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0)
    if (difference !== 0) return difference
  }
  return 0
}
