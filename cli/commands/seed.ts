import { createHash } from 'node:crypto'
import Table from 'cli-table3'
import { InvalidArgumentError, type Command } from 'commander'
import { positive } from './import.ts'
import { ApiError, type Api } from '../shop-data/api-client.ts'
import { openJournal } from '../shop-data/import-journal.ts'
import { inParallel } from '../shop-data/in-parallel.ts'
import { localShop, openApi, withApiOptions, type ApiOptions } from '../shop-data/local-shop.ts'
import { createProgressBar } from '../terminal/progress-bar.ts'
import { categoryIds, requestLimits, sendProducts } from '../shop-data/product-upload.ts'
import { seedProduct, seedUser } from '../shop-data/seed-data.ts'

// A group of products that was sent is one entry of the journal.
const groupSize = requestLimits.products
const usersAtOnce = 8

type Options = ApiOptions & {
  products: number
  from: number
  users: number
  seed: number
  concurrency: number
  resume: boolean
}

/** Adds `seed --products N --users M`. */
export function register(program: Command): void {
  withApiOptions(
    program.command('seed').description('create reproducible products, stock and shoppers; can be repeated'),
  )
    .option('--products <count>', 'how many products', count, 100)
    .option('--from <count>', 'leave out so many of them, which are there already', count, 0)
    .option('--users <count>', 'how many shoppers', count, 10)
    .option('--seed <number>', 'another number creates other products and shoppers', count, 1)
    .option('--concurrency <count>', 'how many requests, of up to 200 products, at a time', positive, 4)
    .option('--no-resume', 'start over, even if an earlier seed of the same products was interrupted')
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
  const counts = { created: 0, replaced: 0, unchanged: 0, before: 0, variants: 0, registered: 0, known: 0 }
  await seedProducts(api, options, counts)

  await withBar('Shoppers', options.users, usersAtOnce, async (i) => {
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
    ['products created', counts.created],
    ['products replaced', counts.replaced],
    ['products unchanged', counts.unchanged],
    ...(counts.before > 0 ? [['products seeded before', counts.before]] : []),
    ['variants with stock', counts.variants],
    ['shoppers registered', counts.registered],
    ['shoppers that existed', counts.known],
    ['seconds', ((Date.now() - started) / 1000).toFixed(1)],
  )
  console.log(table.toString())
}

type Counts = { created: number; replaced: number; unchanged: number; before: number; variants: number }

/** Sends the products in groups. Those that have arrived are noted: an interrupted seed resumes. */
async function seedProducts(
  api: Api,
  { seed, products, from: first, concurrency, resume }: Options,
  counts: Counts,
): Promise<void> {
  if (products <= first) return
  const name = createHash('sha256').update(`seed ${seed}\n${api.url}`).digest('hex')
  const journal = openJournal(name, resume)
  const groups = Array.from({ length: Math.ceil((products - first) / groupSize) }, (_, group) => {
    const [from, to] = [first + group * groupSize, Math.min(products, first + (group + 1) * groupSize)]
    return { from, to, name: `${from}-${to}` }
  })
  const open = groups.filter((group) => !journal.done.has(group.name))
  counts.before = groups.reduce((sum, { name, from, to }) => sum + (journal.done.has(name) ? to - from : 0), 0)
  if (counts.before > 0)
    console.error(`Resuming an interrupted seed after ${counts.before} products (--no-resume starts over).`)

  const categories = categoryIds(api)
  const bar = createProgressBar('Products', products - first, { done: counts.before })
  try {
    await inParallel(open, concurrency, async ({ from, to, name }) => {
      const made = Array.from({ length: to - from }, (_, i) => seedProduct(seed, from + i))
      const ids = await categories(made.map(({ category }) => category))
      const lines = made.map((product, i) => {
        const found = ids[i]!
        const { category, ...rest } = product
        if ('refused' in found) throw new Error(category.join(), { cause: found.refused })
        return { ...rest, categoryId: found.id }
      })
      for (const [i, { outcome, problem }] of (await sendProducts(api, 'seed', lines)).entries()) {
        const { handle, variants } = lines[i]!
        if (problem !== null || outcome === 'refused' || outcome === 'failed')
          throw new Error(`${handle} is refused: ${problem?.code}: ${problem?.detail}`)
        counts[outcome]++
        counts.variants += variants.length
      }
      journal.add(name)
      bar.step(to - from)
    })
  } finally {
    bar.close()
  }
  journal.remove()
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
