/**
 * The name that a misspelt one is most likely to mean: at most a third of its letters away,
 * undefined where none is that near.
 */
export function nearestName(name: string, known: string[]): string | undefined {
  const ranked = known.map((candidate) => ({ candidate, steps: steps(name.toLowerCase(), candidate.toLowerCase()) }))
  const [nearest] = ranked.toSorted((a, b) => a.steps - b.steps)
  return nearest && nearest.steps <= name.length / 3 ? nearest.candidate : undefined
}

/**
 * How many letters have to be added, left out or changed to make one text of the other
 * (Levenshtein's distance).
 */
function steps(one: string, other: string): number {
  let row = Array.from({ length: other.length + 1 }, (_, n) => n)
  for (const [i, letter] of [...one].entries()) {
    const next = [i + 1]
    for (let n = 1; n <= other.length; n += 1)
      next.push(
        Math.min((row[n] ?? 0) + 1, (next[n - 1] ?? 0) + 1, (row[n - 1] ?? 0) + (letter === other[n - 1] ? 0 : 1)),
      )
    row = next
  }
  return row[other.length] ?? 0
}
