import { random } from '../../platform/random.ts'
import { zipf } from '../../platform/zipf.ts'
import {
  adjectives,
  departments,
  firstNames,
  lastNames,
  seriesEnds,
  seriesStarts,
  vendorKinds,
  vendorNames,
  type AttributeRule,
  type Department,
} from './seed-words.ts'
import { slug } from './sku.ts'

// A made-up shop. Product i of a seed does not depend on how many there are, so a shop can grow
// later.

// Neighbouring seeds and numbers must not produce similar products.
const mix = (seed: number, kind: number, i: number) =>
  (Math.imul(seed + 1, 0x9e3779b1) ^ Math.imul(kind + 1, 0x85ebca6b) ^ Math.imul(i + 1, 0xc2b2ae35)) >>> 0

type Leaf = {
  department: Department
  kind: readonly [string, string]
  use: readonly [string, string]
  path: string[]
  attributes: readonly AttributeRule[]
}

/** 5 to 30 attributes, which a kind of goods has in common. */
function attributesOf({ attributes }: Department, kind: number): AttributeRule[] {
  const next = random(mix(0, 3, kind))
  const count = Math.max(5, Math.ceil(attributes.length * (0.6 + 0.4 * next())))
  return attributes.slice(0, count)
}

const leaves: Leaf[] = departments.flatMap((department) =>
  department.kinds.flatMap((kind, k) => {
    const attributes = attributesOf(department, k)
    return department.uses.map((use) => ({
      department,
      kind,
      use,
      attributes,
      path: [department.name[0], plural(kind[0]), `${use[0]} ${plural(kind[0])}`],
    }))
  }),
)

/** The path of every category, parents first: some 3,000. */
export const categoryPaths: string[][] = [
  ...departments.flatMap(({ name, kinds }) => [[name[0]], ...kinds.map(([kind]) => [name[0], plural(kind)])]),
  ...leaves.map(({ path }) => path),
]

// Neighbours of the list are not equally popular.
const shuffled = <T>(from: readonly T[], seed: number): T[] => {
  const next = random(seed)
  return from
    .map((each) => ({ each, at: next() }))
    .toSorted((a, b) => a.at - b.at)
    .map(({ each }) => each)
}
const popularLeaves = shuffled(leaves, 11)
const leafPlace = zipf(leaves.length, 0.5)
const vendors = shuffled(
  vendorNames.flatMap((name) => vendorKinds.map((kind) => `${name} ${kind}`)),
  12,
)
const vendorPlace = zipf(vendors.length, 0.8)

function plural(word: string): string {
  if (/(s|Clothing|Tea|Coffee|Chocolate|Honey|Oil|Kimchi|Jam|Mix)$/.test(word)) return word
  if (/(sh|ch|x)$/.test(word)) return `${word}es`
  return word.endsWith('y') && !/[aeo]y$/.test(word) ? `${word.slice(0, -1)}ies` : `${word}s`
}

export type SeedProduct = {
  handle: string
  title: string
  description: string
  vendor: string
  category: string[]
  images: string[]
  attributes: Record<string, unknown>
  published: boolean
  variants: {
    sku: string
    options: Record<string, string>
    price: { amount: number; currency: string }
    /** Units that the seed supplies. */
    stock: number
  }[]
}

/** Returns product `i` of a seed. */
export function seedProduct(seed: number, i: number): SeedProduct {
  const next = random(mix(seed, 1, i))
  const pick = <T>(from: readonly T[]): T => from[Math.floor(next() * from.length)]!
  const { department, kind, use, path, attributes } = popularLeaves[leafPlace(next())]!
  const adjective = pick(adjectives)
  const series = pick(seriesStarts) + pick(seriesEnds)
  const vendor = vendors[vendorPlace(next())]!
  const english = `${adjective[0]} ${use[0]} ${kind[0]} ${series}`
  const korean = `${adjective[1]} ${use[1]} ${kind[1]} ${series}`
  // A third has a Korean title.
  const title = next() < 1 / 3 ? korean : english
  const handle = `${slug(english)}-${seed}-${i}`

  const values = Object.fromEntries(attributes.map((rule) => [rule[0], valueOf(rule, pick, next)]))
  const made = typeof values['material'] === 'string' ? ` Made of ${values['material']}.` : ''
  const variants = combine(department.options.map(([name, all]) => [name, some(all, next)]))
  // More small prices than large ones, ending in 99 or 49.
  const [low, high] = department.price
  const base = Math.round(low * (high / low) ** next()) * 100 - (next() < 0.7 ? 1 : 51)
  const years = 1 + Math.floor(next() * 5)
  const images = 1 + Math.floor(next() * 6)
  return {
    handle,
    title,
    description: [
      `<p>${english}, from ${escape(vendor)}: ${pick(praises)}.${made} ${pick(promises)}.</p>`,
      `<p>${korean}. ${pick(koreanPraises)}.</p>`,
      `<ul><li>${escape(path[1]!)} / ${escape(path[2]!)}</li><li>${years} years of warranty</li></ul>`,
    ].join(''),
    vendor,
    category: path,
    images: Array.from({ length: images }, (_, n) => `https://images.example/${handle}-${n + 1}.jpg`),
    attributes: { ...values, tags: [adjective[0], use[0], department.name[0], use[1]] },
    published: next() < 0.98,
    variants: variants.map((options, n) => ({
      sku: [handle, ...Object.values(options).map(slug)].join('-'),
      options,
      price: { amount: base + n * 200, currency: 'USD' },
      // One in twenty is sold out.
      stock: next() < 0.05 ? 0 : 1 + Math.floor(next() * 500),
    })),
  }
}

function valueOf(rule: AttributeRule, pick: <T>(from: readonly T[]) => T, next: () => number): unknown {
  const [, from, to] = rule
  if (from === undefined) return next() < 0.3
  if (typeof from !== 'number') return pick(from)
  // Two digits are as exact as such figures are, and make values that products share.
  const value = from + next() ** 2 * ((to ?? from) - from)
  return Math.round(Number(value.toPrecision(2)))
}

/** Returns the first few values, or none: not every product comes in every one. */
function some(values: readonly string[], next: () => number): readonly string[] {
  return next() < 0.5 ? values.slice(0, 1 + Math.floor(next() ** 2 * Math.min(values.length, 5))) : []
}

/** Returns every combination of the options that have values, or one empty combination. */
const combine = (options: [string, readonly string[]][]): Record<string, string>[] =>
  options.reduce<Record<string, string>[]>(
    (sofar, [name, values]) =>
      values.length === 0 ? sofar : sofar.flatMap((own) => values.map((value) => ({ ...own, [name]: value }))),
    [{}],
  )

const escape = (text: string) => text.replaceAll('&', '&amp;')

const praises = [
  'a companion for many years',
  'small in price and large in use',
  'made for those who look twice',
  'as good on the road as at home',
  'light, quiet and quick to clean',
  'the one that everyone asks about',
]
const promises = [
  'Delivered within two days',
  'Spare parts for ten years',
  'Packed without plastic',
  'Returned free of charge within 30 days',
]
const koreanPraises = [
  '오래 쓰는 좋은 물건',
  '선물하기 좋은 제품',
  '가볍고 조용하며 관리가 쉽습니다',
  '집에서도 밖에서도 편리합니다',
]

/** Returns shopper `i` of a seed. */
export function seedUser(seed: number, i: number): { email: string; name: string } {
  const next = random(mix(seed, 2, i))
  const pick = <T>(from: readonly T[]): T => from[Math.floor(next() * from.length)]!
  return { email: `shopper-${seed}-${i}@example.com`, name: `${pick(firstNames)} ${pick(lastNames)}` }
}

/**
 * Returns a function that turns numbers in [0, 1) into numbers of products, as shoppers choose
 * them: a few are wanted by many (Zipf's law), and those are anywhere in the catalogue.
 */
export function popularProducts(seed: number, products: number): (random: number) => number {
  const place = zipf(products, 1)
  // A step without a common divisor visits every product once.
  const offset = mix(seed, 4, 0) % products
  let step = (Math.floor(products * 0.618) || 1) + (seed % 7)
  while (divisor(step, products) !== 1) step++
  return (random) => (offset + place(random) * step) % products
}

const divisor = (a: number, b: number): number => (b === 0 ? a : divisor(b, a % b))
