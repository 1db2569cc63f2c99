import { random } from '../../platform/random.ts'
import { slug } from './sku.ts'

// A made-up shop. Product i of a seed does not depend on how many there are, so a shop can grow
// later.

// Neighbouring seeds and numbers must not produce similar products.
const mix = (seed: number, kind: number, i: number) =>
  (Math.imul(seed + 1, 0x9e3779b1) ^ Math.imul(kind + 1, 0x85ebca6b) ^ Math.imul(i + 1, 0xc2b2ae35)) >>> 0

const tree: Record<string, Record<string, string[]>> = {
  'Home & Garden': {
    Planters: ['Pots', 'Hanging Baskets', 'Window Boxes'],
    Lighting: ['Desk Lamps', 'Lanterns', 'String Lights'],
    Kitchen: ['Mugs', 'Bowls', 'Cutting Boards'],
  },
  Furniture: {
    Seating: ['Chairs', 'Stools', 'Benches'],
    Tables: ['Desks', 'Side Tables'],
    Storage: ['Shelves', 'Chests'],
  },
  Clothing: {
    Tops: ['Shirts', 'Jumpers', 'Jackets'],
    Bottoms: ['Trousers', 'Skirts'],
    Accessories: ['Scarves', 'Hats', 'Belts'],
  },
  'Sports & Outdoors': {
    Camping: ['Tents', 'Stoves'],
    Cycling: ['Helmets', 'Lights', 'Pumps'],
    Running: ['Shoes', 'Bottles'],
  },
  'Toys & Games': {
    Puzzles: ['Jigsaws', 'Cubes'],
    'Board Games': ['Strategy', 'Family'],
    Models: ['Trains', 'Aeroplanes'],
  },
}

/** The path of every category, parents first. */
export const categoryPaths: string[][] = Object.entries(tree).flatMap(([top, middles]) => [
  [top],
  ...Object.entries(middles).flatMap(([middle, leaves]) => [
    [top, middle],
    ...leaves.map((leaf) => [top, middle, leaf]),
  ]),
])
const leaves = categoryPaths.filter((path) => path.length === 3)

const adjectives = [
  'Quiet',
  'Sturdy',
  'Bright',
  'Rustic',
  'Slim',
  'Nordic',
  'Classic',
  'Mossy',
  'Folding',
  'Little',
  'Grand',
  'Velvet',
  'Coastal',
  'Amber',
  'Honest',
  'Hollow',
]
const materials = [
  'Clay',
  'Copper',
  'Oak',
  'Linen',
  'Steel',
  'Glass',
  'Wool',
  'Bamboo',
  'Cork',
  'Marble',
  'Cotton',
  'Brass',
]
const vendors = ['Company 123', 'Rustic LTD', 'North & Daughters', 'Atelier Süd', 'Plain Goods', 'Harbour Works']
const colours = ['Red', 'Sand', 'Navy', 'Moss', 'Chalk', 'Ink']
const sizes = ['Small', 'Medium', 'Large']
const firstNames = ['Ada', 'Ben', 'Chloé', 'Dmitri', 'Ēriks', 'Fatima', 'Grace', 'Hana', 'Ivan', 'José', 'Kenji', 'Léa']
const lastNames = ['Alvarez', 'Brown', 'Chen', 'Dubois', 'Eriksson', 'Fischer', 'García', 'Haddad', 'Ito', 'Jensen']

export type SeedProduct = {
  handle: string
  title: string
  description: string
  vendor: string
  category: string[]
  images: string[]
  attributes: Record<string, unknown>
  published: boolean
  variants: { sku: string; options: Record<string, string>; price: { amount: number; currency: string } }[]
  stock: { sku: string; quantity: number }[]
}

/** Returns product `i` of a seed. */
export function seedProduct(seed: number, i: number): SeedProduct {
  const next = random(mix(seed, 1, i))
  const pick = <T>(from: readonly T[]): T => from[Math.floor(next() * from.length)]!
  const category = pick(leaves)
  const [adjective, material] = [pick(adjectives), pick(materials)]
  const title = `${adjective} ${material} ${category[2]}`
  const handle = `${slug(title)}-${seed}-${i}`
  const bySize = next() < 0.5 ? sizes.slice(0, 1 + Math.floor(next() * sizes.length)) : []
  const byColour = next() < 0.4 ? colours.slice(0, 1 + Math.floor(next() * 4)) : []
  // Prices from 3 to 300 with more small ones than large ones, ending in 99 or 49.
  const base = Math.round(3 * 100 ** next()) * 100 - (next() < 0.7 ? 1 : 51)
  const options = combine([
    ['Size', bySize],
    ['Colour', byColour],
  ])
  const variants = options.map((own, n) => ({
    sku: [handle, ...Object.values(own).map(slug)].join('-'),
    options: own,
    price: { amount: base + n * 200, currency: 'USD' },
  }))
  const made = `<p>${adjective}, and made of ${material.toLowerCase()}.</p>`
  const vendorItem = `<li>By ${pick(vendors).replaceAll('&', '&amp;')}</li>`
  const warrantyItem = `<li>${1 + Math.floor(next() * 5)} years of warranty</li>`
  const description = `${made}<ul>${vendorItem}${warrantyItem}</ul>`
  return {
    handle,
    title,
    description,
    category,
    variants,
    vendor: pick(vendors),
    images: [`https://images.example/${handle}-1.jpg`, `https://images.example/${handle}-2.jpg`],
    attributes: {
      material: material.toLowerCase(),
      tags: [material, category[1]],
      weightGrams: 50 + Math.floor(next() * 5_000),
      handmade: next() < 0.2,
    },
    published: next() < 0.98,
    // One in twenty is sold out.
    stock: variants.map(({ sku }) => ({ sku, quantity: next() < 0.05 ? 0 : 1 + Math.floor(next() * 500) })),
  }
}

/** Returns every combination of the options that have values, or one empty combination. */
const combine = (options: [string, string[]][]): Record<string, string>[] =>
  options.reduce<Record<string, string>[]>(
    (sofar, [name, values]) =>
      values.length === 0 ? sofar : sofar.flatMap((own) => values.map((value) => ({ ...own, [name]: value }))),
    [{}],
  )

/** Returns shopper `i` of a seed. */
export function seedUser(seed: number, i: number): { email: string; name: string } {
  const next = random(mix(seed, 2, i))
  const pick = <T>(from: readonly T[]): T => from[Math.floor(next() * from.length)]!
  return { email: `shopper-${seed}-${i}@example.com`, name: `${pick(firstNames)} ${pick(lastNames)}` }
}
