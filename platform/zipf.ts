/**
 * Returns a function that turns numbers in [0, 1) into places from 0 to `count` - 1 by Zipf's law:
 * place k is chosen in proportion to 1 / (k + 1) ^ `exponent`, as products, pages and words of a
 * shop are. It is exact to some percent, and needs no table, so `count` may be a million.
 */
export function zipf(count: number, exponent = 1): (random: number) => number {
  // The integral of the law from 0.5 on stands for its sum; its inverse is known.
  const power = 1 - exponent
  const integral = (x: number) => (power === 0 ? Math.log(x) : x ** power / power)
  const inverse = (y: number) => (power === 0 ? Math.exp(y) : (y * power) ** (1 / power))
  const from = integral(0.5)
  const to = integral(count + 0.5)
  return (random) => Math.min(count - 1, Math.max(0, Math.round(inverse(from + random * (to - from))) - 1))
}
