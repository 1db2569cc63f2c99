/**
 * Divides a list, in its order, into groups of at most `count` entries, whose sizes together are at
 * most `size`. An entry that is larger than that has a group of its own.
 */
export function groupsOf<T>(
  all: readonly T[],
  { sizeOf, size, count = Infinity }: { sizeOf: (each: T) => number; size: number; count?: number },
): T[][] {
  const groups: T[][] = []
  let taken = 0
  for (const each of all) {
    const own = sizeOf(each)
    const group = groups.at(-1)
    if (!group || group.length >= count || taken + own > size) {
      groups.push([each])
      taken = own
    } else {
      group.push(each)
      taken += own
    }
  }
  return groups
}
