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
    program.command('seed').description('create reproducible products, stock and shoppers; can be repeated'),
  )
    .option('--products <count>', 'how many products', count, 100)
    .option('--users <count>', 'how many shoppers', count, 10)
    .option('--seed <number>', 'another number creates other products and shoppers', count, 1)
    .option('--concurrency <count>', 'how many requests at a time', positive, 8)
    .addHelpText('after', "\nThe shoppers' password is SIDECART_SEED_PASSWORD, else the demo shopper's.")
    .action(seed)
}

function count(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('must be a whole number')
  return Number(text)
}

async function seed(options: Options): Promise<void> {
  const api = await openApi(options)
  const password = process.env['SIDECART_SEED_PASSWORD'] ?? localShop()?.secrets.shopperPassword
  if (options.users > 0 && password === undefined)
    throw new Error("Set SIDECART_SEED_PASSWORD to the new shoppers' password.")
  const started = Date.now()
  const counts = { categories: 0, created: 0, updated: 0, variants: 0, registered: 0, known: 0 }

  const ids = new Map<string, string>()
  await inParallel(options.products > 0 ? categoryPaths : [], options.concurrency, async (path) => {
    const { body } = await api.post<{ id: string }>('/v1/categories', { path })
    ids.set(path.join(' > '), body.id)
    counts.categories++
  })

  await withBar('Products', options.products, options.concurrency, async (i) => {
    const { handle, category, stock, ...product } = seedProduct(options.seed, i)
    const { status } = await api.put(`/v1/products/${handle}`, {
      ...product,
      categoryId: ids.get(category.join(' > ')),
    })
    counts[status === 201 ? 'created' : 'updated']++
    for (const { sku, quantity } of stock)
      await api.put(`/v1/stock/${encodeURIComponent(sku)}`, { source: 'seed', quantity })
    counts.variants += stock.length
  })

  await withBar('Shoppers', options.users, options.concurrency, async (i) => {
    try {
      await api.post('/v1/users', { ...seedUser(options.seed, i), password })
      counts.registered++
    } catch (error) {
      if (!(error instanceof ApiError) || error.problem.code !== 'email_taken') throw error
      counts.known++
    }
  })

  const table = new Table({ head: ['seed', String(options.seed)], style: { head: [], border: [], compact: true } })
  table.push(
    ['categories', counts.categories],
    ['products created', counts.created],
    ['products updated', counts.updated],
    ['variants with stock', counts.variants],
    ['shoppers registered', counts.registered],
    ['shoppers that existed', counts.known],
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
