// The reads of the benchmark of the catalogue: what shoppers ask for, over samples of the seeded
// products.
import type { ShopApi } from '../platform/testing/shop-api.ts'

type Item = { id: string; handle: string; title: string; vendor: string; attributes: Record<string, unknown> }
type Page = { items: Item[]; next: string | null }
type Category = { id: string; products?: number; parentId: string | null }

/** What a shopper asks for next: a path. */
export type NextPath = () => string

/** The page that counts as deep, of `deepLimit` products each. */
export const deepPage = 1_000
const deepLimit = 10
/** Of how many categories the products are asked for, up to 100 of each. */
const sampledCategories = 300

const pickOf =
  <T>(values: T[]) =>
  (): T =>
    values[Math.floor(Math.random() * values.length)]!

/**
 * Returns the kinds of reads, each with a function that names the next path.
 * @param api of the gateway or the edge
 * @param products how many there are
 */
export async function catalogueReads(api: ShopApi, products: number): Promise<Record<string, NextPath>> {
  const get = async <T>(path: string): Promise<T> => {
    const { status, body } = await api.send('GET', path)
    if (status !== 200) throw new Error(`GET ${path}: ${status} ${body.slice(0, 200)}`)
    return JSON.parse(body) as T
  }
  const categories = await categoriesOf(get)
  const category = pickOf(categories)
  const found: Item[] = []
  for (let i = 0; i < Math.min(sampledCategories, categories.length); i += 1)
    found.push(...(await get<Page>(`/v1/products?limit=100&category=${category().id}`)).items)
  const item = pickOf(found)
  const word = () =>
    pickOf(
      item()
        .title.split(/\s+/)
        .filter((each) => each.length > 3),
    )() ?? 'shirt'
  const q = encodeURIComponent
  const attribute = (): [string, string] => {
    for (;;) {
      const scalars = Object.entries(item().attributes).filter(([, value]) => typeof value === 'string')
      if (scalars.length > 0) return pickOf(scalars)() as [string, string]
    }
  }
  const deep = pickOf(await deepCursors(get, products))

  return {
    'product by id': () => `/v1/products/${item().handle}`,
    'category page': () => `/v1/products?category=${category().id}`,
    'filtered page': () => {
      const [name, value] = attribute()
      return `/v1/products?category=${category().id}&attr.${q(name)}=${q(value)}&price=500..20000&available=true`
    },
    [`deep page (${deepPage.toLocaleString('en')})`]: () => `/v1/products?limit=${deepLimit}&cursor=${q(deep())}`,
    'sorted by price': () => `/v1/products?category=${category().id}&sort=price`,
    facets: () => `/v1/products?category=${category().id}&facets=vendor,price,available`,
    text: () => `/v1/products?q=${q(`${word()} ${word()}`)}`,
    'text with a typo': () => `/v1/products?q=${q(misspelt(word()))}`,
    suggest: () => `/v1/products:suggest?q=${q(word().slice(0, 3 + Math.floor(Math.random() * 3)))}`,
  }
}

/** Returns the categories that have products, of any level. */
async function categoriesOf(get: <T>(path: string) => Promise<T>): Promise<Category[]> {
  const all: Category[] = []
  const walk = async (parent: string, depth: number): Promise<void> => {
    const { children } = await get<{ children: Category[] }>(`/v1/categories/${parent}`)
    all.push(...children)
    if (depth > 0) for (const { id } of children) await walk(id, depth - 1)
  }
  const { items } = await get<{ items: Category[] }>('/v1/categories')
  all.push(...items)
  for (const { id } of items.filter(({ parentId }) => parentId === null).slice(0, 20)) await walk(id, 1)
  return [...new Map(all.map((each) => [each.id, each])).values()].filter(({ products }) => products !== 0)
}

/** Follows `next` to the deep page, or to the last one, and returns the cursors of the last 20. */
async function deepCursors(get: <T>(path: string) => Promise<T>, products: number): Promise<string[]> {
  const cursors: string[] = []
  let path = `/v1/products?limit=${deepLimit}`
  for (let page = 1; page <= Math.min(deepPage, Math.floor((products * 0.9) / deepLimit)); page += 1) {
    const { next } = await get<Page>(path)
    if (next === null) break
    cursors.push(next)
    path = `/v1/products?limit=${deepLimit}&cursor=${encodeURIComponent(next)}`
  }
  return cursors.slice(-20)
}

/** Swaps two letters, as fast fingers do. */
function misspelt(word: string): string {
  const at = 1 + Math.floor(Math.random() * (word.length - 2))
  return word.slice(0, at) + word[at + 1]! + word[at]! + word.slice(at + 2)
}
