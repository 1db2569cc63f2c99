import { createHash, type Hash } from 'node:crypto'
import { appendFileSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { pipeline, Transform } from 'node:stream'
import Table from 'cli-table3'
import { InvalidArgumentError, type Command } from 'commander'
import { currentInstance } from '../../platform/supervise/instance.ts'
import { createPaths } from '../../platform/processes/paths.ts'
import { ApiError, type Api } from '../shop-data/api-client.ts'
import { openCsv, readRows, type Problem, type Row } from '../shop-data/csv-rows.ts'
import { inParallel } from '../shop-data/in-parallel.ts'
import { openApi, withApiOptions, type ApiOptions } from '../shop-data/local-shop.ts'
import { decimals } from '../shop-data/money.ts'
import { createProgressBar } from '../terminal/progress-bar.ts'
import { buildProduct, handleOf, placeOf, type ImportedProduct } from '../shop-data/shopify-product.ts'
import { hashedSku } from '../shop-data/sku.ts'

type Options = ApiOptions & { currency: string; concurrency: number; resume: boolean }

/** Adds `import FILE.csv`. */
export function register(program: Command): void {
  withApiOptions(
    program
      .command('import')
      .description("read Shopify's product CSV into the shop; repeating it changes nothing")
      .argument('<file>', "the CSV, as Shopify's admin exports it"),
  )
    .option('--currency <code>', 'the currency of its prices, which the file does not tell', currency, 'USD')
    .option('--concurrency <count>', 'how many products to send at once', positive, 8)
    .option('--no-resume', 'begin at the start, also when an earlier import of this file was cut short')
    .action(async (file: string, options: Options) => {
      // npm changes to the clone's folder; the name is meant from where it was typed.
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
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError('must be a whole number from 1 on')
  return Number(text)
}

/**
 * Imports a file. Returns the exit code: 1 if any row was bad. Throws when it cannot go on; running
 * it again goes on from there.
 */
async function importFile(file: string, o: Options): Promise<number> {
  const api = await openApi(o)
  const { rowsOf, hash } = await countRows(file)
  const journal = openJournal(createHash('sha256').update(`${hash}\n${api.url}\n${o.currency}`).digest('hex'), o.resume)
  const counts = { rows: 0, created: 0, updated: 0, skipped: 0, variants: 0, warnings: 0, bad: 0 }
  const started = Date.now()
  if (journal.done.size > 0)
    console.error(
      `An import of this file was cut short: going on after the ${journal.done.size} products that are done (--no-resume begins again).`,
    )
  const bar = createProgressBar('Products', rowsOf.size)
  const bad = (problem: Problem) => {
    counts.bad++
    bar.say(`line ${problem.line}: ${problem.field}: ${problem.message}`)
  }
  const categoryId = categoryCache(api)

  try {
    await inParallel(groups(file, rowsOf, bad), o.concurrency, async (rows) => {
      counts.rows += rows.length
      const { product, errors, warnings } = buildProduct(rows, o.currency)
      const key = handleOf(rows[0]!)!
      if (journal.done.has(key)) counts.skipped++
      else {
        for (const { line, field, message } of warnings) bar.say(`warning: line ${line}: ${field}: ${message}`)
        counts.warnings += warnings.length
        for (const error of errors) bad(error)
        const sent = product && (await sendProduct(api, product, categoryId, bad))
        if (sent?.created !== undefined) counts[sent.created ? 'created' : 'updated']++
        counts.variants += sent?.stocked ?? 0
        if (sent?.complete && errors.length === 0 && warnings.length === 0) journal.add(key)
      }
      bar.step()
    })
  } finally {
    bar.close()
  }
  journal.remove()

  const table = new Table({ head: ['import', ''], style: { head: [], border: [], compact: true } })
  table.push(
    ['rows read', counts.rows],
    ['products created', counts.created],
    ['products that were there', counts.updated],
    ...(counts.skipped > 0 ? [['products done before', counts.skipped]] : []),
    ['variants with stock', counts.variants],
    ['warnings', counts.warnings],
    ['bad rows', counts.bad],
    ['seconds', ((Date.now() - started) / 1000).toFixed(1)],
  )
  console.log(table.toString())
  return counts.bad > 0 ? 1 : 0
}

/**
 * How many rows each product has, so that its last one is known when it comes, wherever the others
 * stand; and the file's hash.
 */
async function countRows(file: string): Promise<{ rowsOf: Map<string, number>; hash: string }> {
  const rowsOf = new Map<string, number>()
  const hash = createHash('sha256')
  for await (const row of readRows(
    pipeline(openCsv(file), hashing(hash), () => {}),
    ['Handle', 'Title', 'Variant Price'],
  )) {
    const handle = 'cells' in row && handleOf(row)
    if (handle) rowsOf.set(handle, (rowsOf.get(handle) ?? 0) + 1)
  }
  return { rowsOf, hash: hash.digest('hex') }
}

const hashing = (hash: Hash) =>
  new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk)
      done(null, chunk)
    },
  })

/** The rows of each product, once all of them were read. */
async function* groups(
  file: string,
  rowsOf: Map<string, number>,
  bad: (problem: Problem) => void,
): AsyncGenerator<Row[]> {
  const open = new Map<string, Row[]>()
  for await (const row of readRows(openCsv(file))) {
    if (!('cells' in row)) {
      bad(row)
      continue
    }
    const handle = handleOf(row)
    if (handle === undefined) {
      bad({
        line: row.line,
        field: 'Handle',
        message: row.cells['Handle'] === undefined ? 'is missing' : 'has no Latin letter or digit',
      })
      continue
    }
    const rows = open.get(handle) ?? []
    rows.push(row)
    open.set(handle, rows)
    if (rows.length < (rowsOf.get(handle) ?? 0)) continue
    open.delete(handle)
    yield rows
  }
}

/** The id of a category by its names; asks once for each. */
function categoryCache(api: Api): (names: string[]) => Promise<string> {
  const ids = new Map<string, Promise<string>>()
  return (names) => {
    if (names.length === 0) return Promise.resolve('')
    const key = JSON.stringify(names)
    const known =
      ids.get(key) ?? api.post<{ id: string }>('/v1/categories', { path: names }).then(({ body }) => body.id)
    ids.set(key, known)
    return known
  }
}

type Sent = { created?: boolean; stocked: number; complete: boolean }

/**
 * Sends a product and the stock of its variants; what the shop refuses is reported at the line that
 * it came from.
 */
async function sendProduct(
  api: Api,
  product: ImportedProduct,
  categoryId: (names: string[]) => Promise<string>,
  bad: (problem: Problem) => void,
): Promise<Sent> {
  const refused = refusals(product, bad)
  const id = await refused(categoryId(product.category))
  if (id === undefined) return { stocked: 0, complete: false }
  const { handle, title, description, vendor, images, attributes, published } = product
  const put = () =>
    api.put(`/v1/products/${handle}`, {
      title,
      description,
      vendor,
      categoryId: id,
      images,
      attributes,
      published,
      variants: product.variants.map(({ sku, options, price }) => ({ sku, options, price })),
    })
  const answer = await refused(
    put().catch((error: unknown) => {
      if (!renameTaken(product, error)) throw error
      return put()
    }),
  )
  if (!answer) return { stocked: 0, complete: false }
  let stocked = 0
  for (const [i, { sku, quantity }] of product.variants.entries()) {
    if (
      await refused(api.put(`/v1/stock/${encodeURIComponent(sku)}`, { source: 'import', quantity }), {
        line: product.variants[i]!.line,
        field: 'Variant Inventory Qty',
      })
    )
      stocked++
  }
  return { created: answer.status === 201, stocked, complete: stocked === product.variants.length }
}

/**
 * Gives variants whose derived SKU is another product's their longer one: the same one at each
 * import. False if that is not what went wrong.
 */
function renameTaken(product: ImportedProduct, error: unknown): boolean {
  if (!(error instanceof ApiError) || error.problem.code !== 'sku_taken') return false
  const taken = (error.problem.errors ?? []).flatMap(
    ({ field }) => product.variants[Number(/^variants\.(\d+)\.sku$/.exec(field)?.[1])] ?? [],
  )
  if (taken.length === 0 || taken.some(({ derived }) => !derived)) return false
  for (const variant of taken) variant.sku = hashedSku(variant.sku, Object.values(variant.options))
  return true
}

/**
 * Awaits a request; undefined when the shop refuses it for what is in the file, which is reported.
 * Everything else is thrown.
 */
const refusals =
  (product: ImportedProduct, bad: (problem: Problem) => void) =>
  async <T>(request: Promise<T>, at?: { line: number; field: string }): Promise<T | undefined> => {
    try {
      return await request
    } catch (error) {
      if (!(error instanceof ApiError) || ![400, 404, 409, 413, 422].includes(error.problem.status)) throw error
      const { errors = [], detail } = error.problem
      if (at || errors.length === 0) bad({ ...(at ?? { line: product.line, field: 'Handle' }), message: detail })
      else for (const { field, message } of errors) bad({ ...placeOf(field, product), message })
      return undefined
    }
  }

/**
 * Remembers which products are done, so that an import that is cut short goes on there. It is the
 * file's, and gone when the import is.
 */
function openJournal(name: string, resume: boolean) {
  const file = join(createPaths(currentInstance().instance).state, 'imports', name)
  if (!resume) rmSync(file, { force: true })
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
  return {
    done: new Set(readLines(file)),
    add: (handle: string) => appendFileSync(file, `${handle}\n`),
    remove: () => rmSync(file, { force: true }),
  }
}

/** Whole lines only: the last one may have been cut. */
function readLines(file: string): string[] {
  try {
    return readFileSync(file, 'utf8').split('\n').slice(0, -1)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}
