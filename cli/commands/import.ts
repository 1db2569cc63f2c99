import { createHash } from 'node:crypto'
import { resolve } from 'node:path'
import Table from 'cli-table3'
import { InvalidArgumentError, type Command } from 'commander'
import type { Problem } from '../shop-data/csv-rows.ts'
import type { ImportedProduct } from '../shop-data/shopify-product.ts'
import { openApi, withApiOptions, type ApiOptions } from '../shop-data/local-shop.ts'
import { decimals } from '../shop-data/money.ts'
import { createProgressBar } from '../terminal/progress-bar.ts'

type Options = ApiOptions & { currency: string; concurrency: number; resume: boolean }

/** Adds `import FILE.csv`. */
export function register(program: Command): void {
  withApiOptions(
    program
      .command('import')
      .description("import Shopify's product CSV; can be repeated and resumed")
      .argument('<file>', "the CSV, as Shopify's admin exports it"),
  )
    .option('--currency <code>', 'currency of the prices; the file does not contain it', currency, 'USD')
    .option('--concurrency <count>', 'how many requests, of up to 200 products, at a time', positive, 4)
    .option('--no-resume', 'start over, even if an earlier import of this file was interrupted')
    .action(async (file: string, options: Options) => {
      // npm changes to the clone's folder; the path is relative to where the command was typed.
      process.exitCode = await importFile(resolve(process.env['INIT_CWD'] ?? '.', file), options)
    })
}

function currency(code: string): string {
  try {
    decimals(code)
    return code
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message)
  }
}

export function positive(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError('must be a whole number, 1 or more')
  return Number(text)
}

/**
 * Imports a file. Returns the exit code: 1 if a row was bad. Throws when it cannot continue; the
 * next import of the file resumes.
 */
async function importFile(file: string, options: Options): Promise<number> {
  // Loaded here: parsing CSV and HTML is most of this command's loading time.
  const { openJournal } = await import('../shop-data/import-journal.ts')
  const { inParallel } = await import('../shop-data/in-parallel.ts')
  const { countRows, groupRows } = await import('../shop-data/product-rows.ts')
  const { createUpload, inRequests } = await import('../shop-data/product-upload.ts')
  const { buildProduct, handleOf } = await import('../shop-data/shopify-product.ts')
  type Read = { product: ImportedProduct; isClean: boolean }

  const api = await openApi(options)
  const { rowsOf, hash } = await countRows(file)
  const name = createHash('sha256').update(`${hash}\n${api.url}\n${options.currency}`).digest('hex')
  const journal = openJournal(name, options.resume)
  const { size: doneBefore } = journal.done
  if (doneBefore > 0)
    console.error(`Resuming an interrupted import after ${doneBefore} products (--no-resume starts over).`)

  const counts = { rows: 0, created: 0, replaced: 0, unchanged: 0, skipped: 0, variants: 0, warnings: 0, bad: 0 }
  const started = Date.now()
  const bar = createProgressBar('Products', rowsOf.size)
  const report = ({ line, field, message }: Problem) => {
    counts.bad++
    bar.say(`line ${line}: ${field}: ${message}`)
  }
  const upload = createUpload(api, report)

  /** Yields the products that are not in the shop yet. */
  async function* read(): AsyncGenerator<Read> {
    for await (const rows of groupRows(file, rowsOf, report)) {
      counts.rows += rows.length
      if (journal.done.has(handleOf(rows[0]!)!)) {
        counts.skipped++
        bar.step()
        continue
      }
      const { product, errors, warnings } = buildProduct(rows, options.currency)
      for (const { line, field, message } of warnings) bar.say(`warning: line ${line}: ${field}: ${message}`)
      counts.warnings += warnings.length
      for (const error of errors) report(error)
      if (product) yield { product, isClean: errors.length === 0 && warnings.length === 0 }
      else bar.step()
    }
  }

  try {
    await inParallel(inRequests(read()), options.concurrency, async (group) => {
      const uploaded = await upload(group.map(({ product }) => product))
      for (const [i, { product, isClean }] of group.entries()) {
        const { outcome, stocked, complete } = uploaded[i]!
        if (outcome !== 'refused' && outcome !== 'failed') counts[outcome]++
        counts.variants += stocked
        if (complete && isClean) journal.add(product.handle)
      }
      bar.step(group.length)
    })
  } finally {
    bar.close()
  }
  journal.remove()

  const table = new Table({ head: ['import', ''], style: { head: [], border: [], compact: true } })
  table.push(
    ['rows read', counts.rows],
    ['products created', counts.created],
    ['products replaced', counts.replaced],
    ['products unchanged', counts.unchanged],
    ...(counts.skipped > 0 ? [['products imported before', counts.skipped]] : []),
    ['variants with stock', counts.variants],
    ['warnings', counts.warnings],
    ['bad rows', counts.bad],
    ['seconds', ((Date.now() - started) / 1000).toFixed(1)],
  )
  console.log(table.toString())
  return counts.bad > 0 ? 1 : 0
}
