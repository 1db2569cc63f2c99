// Versions as the servers print them.

/**
 * Returns the first dotted number in what a program prints for --version, or undefined if there is
 * none.
 */
export function parseVersion(text: string): number[] | undefined {
  const found = /\d+(?:\.\d+)+/.exec(text)
  return found?.[0].split('.').map(Number)
}

/**
 * Returns whether a version is at least `from`, and below `below` if that is given. Missing numbers
 * count as 0.
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
