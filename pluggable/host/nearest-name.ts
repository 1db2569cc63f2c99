/**
 * Returns the known name closest to a misspelt one, or undefined if more than a third of its
 * letters differ from every known name.
 */
export function nearestName(name: string, known: string[]): string | undefined {
  const ranked = known.map((candidate) => ({
    candidate,
    edits: editDistance(name.toLowerCase(), candidate.toLowerCase()),
  }))
  const [nearest] = ranked.toSorted((a, b) => a.edits - b.edits)
  return nearest && nearest.edits <= name.length / 3 ? nearest.candidate : undefined
}

/** Levenshtein distance: how many letters to add, remove or change to turn `from` into `to`. */
function editDistance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, n) => n)
  for (const [i, letter] of [...from].entries()) {
    const next = [i + 1]
    for (let n = 1; n <= to.length; n += 1)
      next.push(Math.min((row[n] ?? 0) + 1, (next[n - 1] ?? 0) + 1, (row[n - 1] ?? 0) + (letter === to[n - 1] ? 0 : 1)))
    row = next
  }
  return row[to.length] ?? 0
}
