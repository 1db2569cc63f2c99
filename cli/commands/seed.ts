import Table from 'cli-table3'
import { InvalidArgumentError, type Command } from 'commander'
import { positive } from './import.ts'
import { ApiError } from '../shop-data/api-client.ts'
import { inParallel } from '../shop-data/in-parallel.ts'
import { localShop, openApi, withApiOptions, type ApiOptions } from '../shop-data/local-shop.ts'
import { createProgressBar } from '../terminal/progress-bar.ts'
import { categoryPaths, seedProduct, seedUser } from '../shop-data/seed-data.ts'

type Options = ApiOptions & { products: number; users: number; seed: number; concurrency: number }

/** Adds `seed --products N --users M`. */
export function register(program: Command): void {
  withApiOptions(
    program
      .command('seed')
      .description(
        'fill the shop with made-up products and shoppers: the same ones each time, so repeating it changes nothing',
      ),
  )
    .option('--products <count>', 'how many products', count, 100)
    .option(
      '--users <count>',
      "how many shoppers; their password is SIDECART_SEED_PASSWORD, else the demo shopper's",
      count,
      10,
    )
    .option('--seed <number>', 'another number makes other products and shoppers', count, 1)
    .option('--concurrency <count>', 'how many requests at once', positive, 8)
    .action(seed)
}

function count(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('must be a whole number')
  return Number(text)
}

async function seed(o: Options): Promise<void> {
  const password = process.env['SIDECART_SEED_PASSWORD'] ?? localShop()?.secrets.shopperPassword
  if (o.users > 0 && password === undefined)
    throw new Error('Set SIDECART_SEED_PASSWORD to the password that the shoppers shall have.')
  const api = await openApi(o)
  const started = Date.now()
  const counts = { categories: 0, created: 0, there: 0, variants: 0, registered: 0, known: 0 }

  const ids = new Map<string, string>()
  await inParallel(o.products > 0 ? categoryPaths : [], o.concurrency, async (path) => {
    const { body } = await api.post<{ id: string }>('/v1/categories', { path })
    ids.set(path.join(' > '), body.id)
    counts.categories++
  })

  await withBar('Products', o.products, o.concurrency, async (i) => {
    const { handle, category, stock, ...product } = seedProduct(o.seed, i)
    const { status } = await api.put(`/v1/products/${handle}`, {
      ...product,
      categoryId: ids.get(category.join(' > ')),
    })
    counts[status === 201 ? 'created' : 'there']++
    for (const { sku, quantity } of stock)
      await api.put(`/v1/stock/${encodeURIComponent(sku)}`, { source: 'seed', quantity })
    counts.variants += stock.length
  })

  await withBar('Shoppers', o.users, o.concurrency, async (i) => {
    try {
      await api.post('/v1/users', { ...seedUser(o.seed, i), password })
      counts.registered++
    } catch (error) {
      if (!(error instanceof ApiError) || error.problem.code !== 'email_taken') throw error
      counts.known++
    }
  })

  const table = new Table({ head: ['seed', String(o.seed)], style: { head: [], border: [], compact: true } })
  table.push(
    ['categories', counts.categories],
    ['products created', counts.created],
    ['products that were there', counts.there],
    ['variants with stock', counts.variants],
    ['shoppers registered', counts.registered],
    ['shoppers that were there', counts.known],
    ['seconds', ((Date.now() - started) / 1000).toFixed(1)],
  )
  console.log(table.toString())
}

async function withBar(
  what: string,
  total: number,
  concurrency: number,
  work: (i: number) => Promise<void>,
): Promise<void> {
  if (total === 0) return
  const bar = createProgressBar(what, total)
  try {
    await inParallel(numbers(total), concurrency, async (i) => {
      await work(i)
      bar.step()
    })
  } finally {
    bar.close()
  }
}

function* numbers(total: number): Generator<number> {
  for (let i = 0; i < total; i++) yield i
}
