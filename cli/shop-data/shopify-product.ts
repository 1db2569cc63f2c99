import { normaliseLines, normaliseSku } from '#lib/text.ts'
import type { Problem, Row } from './csv-rows.ts'
import { minorUnits } from './money.ts'
import { deriveSkus, slug } from './sku.ts'

// Shopify's product CSV, as its admin exports it:
// https://help.shopify.com/en/manual/products/import-export/using-csv

/** A product for PUT /v1/products/{handle}, with the lines its parts came from. */
export type ImportedProduct = {
  handle: string
  line: number
  title: string
  description: string
  vendor: string
  /** Names, parents first; empty for none. */
  category: string[]
  images: string[]
  attributes: Record<string, unknown>
  published: boolean
  variants: ImportedVariant[]
}

export type ImportedVariant = {
  line: number
  sku: string
  /** Whether the SKU was derived here. */
  derived: boolean
  options: Record<string, string>
  price: { amount: number; currency: string }
  quantity: number
}

export type Built = { product?: ImportedProduct; errors: Problem[]; warnings: Problem[] }

/** Returns the handle that groups a product's rows, or undefined for a row without one. */
export const handleOf = (row: Row): string | undefined => slug(row.cells['Handle'] ?? '') || undefined

const maxImages = 50
const maxQuantity = 1_000_000_000

/**
 * Builds the product that the rows of one handle describe. Leaves out and reports wrong rows;
 * without a title or a valid variant there is no product.
 */
export function buildProduct(rows: Row[], currency: string): Built {
  const errors: Problem[] = []
  const warnings: Problem[] = []
  const wrong = (line: number, field: string, message: string) => void errors.push({ line, field, message })
  const warn = (line: number, field: string, message: string) => void warnings.push({ line, field, message })

  const main = rows.find(({ cells }) => cells['Title'] !== undefined) ?? rows[0]!
  const { cells, line } = main
  const handle = handleOf(main)!
  if (cells['Handle'] !== handle) warn(line, 'Handle', `is imported as ${handle}`)
  if (cells['Title'] === undefined) wrong(line, 'Title', 'is required')
  const published = isPublished(main, wrong)
  const category = categoryOf(cells)
  if (category.length > 10) wrong(line, 'Product Category', 'is more than 10 levels deep')
  const variants = variantsOf(rows, main, handle, currency, { wrong, warn })
  const images = imagesOf(rows, { wrong, warn })

  if (cells['Title'] === undefined || published === undefined || category.length > 10) return { errors, warnings }
  if (variants.length === 0) {
    if (errors.length === 0) wrong(line, 'Variant Price', 'is required')
    return { errors, warnings }
  }
  const product: ImportedProduct = {
    handle,
    line,
    category,
    images,
    published,
    variants,
    title: oneLine(cells['Title']),
    description: normaliseLines(cells['Body (HTML)'] ?? ''),
    vendor: oneLine(cells['Vendor'] ?? ''),
    attributes: attributesOf(main, variants, rows),
  }
  return { product, errors, warnings }
}

type Report = (line: number, field: string, message: string) => void

const oneLine = (text: string) => text.replaceAll(/\p{Cc}+|\s+/gu, ' ').trim()

const isVariant = ({ cells }: Row) =>
  ['Option1 Value', 'Option2 Value', 'Option3 Value', 'Variant SKU', 'Variant Price', 'Variant Inventory Qty'].some(
    (column) => cells[column] !== undefined,
  )

function variantsOf(
  rows: Row[],
  main: Row,
  handle: string,
  currency: string,
  report: { wrong: Report; warn: Report },
): ImportedVariant[] {
  const found: (Omit<ImportedVariant, 'sku' | 'derived'> & { sku?: string; values: string[] })[] = []
  for (const row of rows.filter((row) => row === main || isVariant(row))) {
    const options = optionsOf(row, main, report.wrong)
    const price = priceOf(row, currency, report.wrong)
    const quantity = quantityOf(row, report)
    if (row.cells['Variant Inventory Policy'] === 'continue')
      report.warn(row.line, 'Variant Inventory Policy', 'is ignored: sold-out variants cannot be ordered')
    if (!options || !price || quantity === undefined) continue
    const twin = found.find((other) => JSON.stringify(other.options) === JSON.stringify(options))
    if (twin) {
      report.wrong(row.line, 'Option1 Value', `has the same options as line ${twin.line}`)
      continue
    }
    // Excel marks digits as text with it.
    const sku = normaliseSku(oneLine((row.cells['Variant SKU'] ?? '').replace(/^'/, '')))
    const same = sku === '' ? undefined : found.find((other) => other.sku === sku)
    if (same) {
      report.wrong(row.line, 'Variant SKU', `has the same SKU as line ${same.line}`)
      continue
    }
    found.push({
      line: row.line,
      options,
      price,
      quantity,
      values: Object.values(options),
      ...(sku === '' ? {} : { sku }),
    })
  }
  const derived = deriveSkus(handle, found)
  return found.map(({ line, options, price, quantity, sku }, i) => ({
    line,
    options,
    price,
    quantity,
    sku: sku ?? derived[i]!,
    derived: sku === undefined,
  }))
}

/**
 * Returns a row's options, or undefined when they are wrong. Only the product's first row has the
 * names; a single variant called "Default Title" has no options.
 */
function optionsOf(row: Row, main: Row, wrong: Report): Record<string, string> | undefined {
  const options: Record<string, string> = {}
  for (const n of [1, 2, 3]) {
    const name = row.cells[`Option${n} Name`] ?? main.cells[`Option${n} Name`]
    const value = row.cells[`Option${n} Value`]
    if (name === undefined && value === undefined) continue
    if (name === 'Title' && (value === undefined || value === 'Default Title')) continue
    if (name === undefined || value === undefined) {
      wrong(row.line, `Option${n} ${name === undefined ? 'Name' : 'Value'}`, 'is required')
      return undefined
    }
    options[oneLine(name)] = oneLine(value)
  }
  return options
}

function priceOf({ line, cells }: Row, currency: string, wrong: Report): ImportedVariant['price'] | undefined {
  const text = cells['Variant Price']
  const result = text === undefined ? { wrong: 'is required' } : minorUnits(text, currency)
  if ('amount' in result) return { amount: result.amount, currency }
  wrong(line, 'Variant Price', result.wrong)
  return undefined
}

function quantityOf({ line, cells }: Row, { wrong, warn }: { wrong: Report; warn: Report }): number | undefined {
  const text = cells['Variant Inventory Qty']
  if (text === undefined) {
    warn(line, 'Variant Inventory Qty', 'is empty: 0 in stock')
    return 0
  }
  if (!/^-?\d{1,12}$/.test(text)) {
    wrong(line, 'Variant Inventory Qty', 'must be a whole number')
    return undefined
  }
  const quantity = Number(text)
  if (quantity < 0) {
    warn(line, 'Variant Inventory Qty', `is ${text}: 0 in stock`)
    return 0
  }
  if (quantity > maxQuantity) {
    wrong(line, 'Variant Inventory Qty', `must be at most ${maxQuantity}`)
    return undefined
  }
  return quantity
}

/**
 * Returns undefined when the cells are wrong. Drafts and archived products are not published,
 * whatever Published says.
 */
function isPublished({ line, cells }: Row, wrong: Report): boolean | undefined {
  const said = (cells['Published'] ?? 'true').toLowerCase()
  const status = (cells['Status'] ?? 'active').toLowerCase()
  if (!['true', 'false'].includes(said)) wrong(line, 'Published', 'must be true or false')
  else if (!['active', 'draft', 'archived'].includes(status)) wrong(line, 'Status', 'must be active, draft or archived')
  else return said === 'true' && status === 'active'
  return undefined
}

function categoryOf(cells: Record<string, string>): string[] {
  // Google's taxonomy may be a number, which means nothing to a shopper.
  const google = cells['Google Shopping / Google Product Category']
  const text =
    cells['Product Category'] ?? (google && !/^\d+$/.test(google) ? google : undefined) ?? cells['Type'] ?? ''
  return text
    .split(/\s+>\s+/)
    .map(oneLine)
    .filter((name) => name !== '')
}

function imagesOf(rows: Row[], { wrong, warn }: { wrong: Report; warn: Report }): string[] {
  const found: { url: string; position: number }[] = []
  for (const { line, cells } of rows) {
    for (const column of ['Image Src', 'Variant Image']) {
      const url = cells[column]
      if (url === undefined) continue
      if (!isWebAddress(url)) wrong(line, column, 'must be an http or https URL')
      else
        found.push({
          url,
          position:
            column === 'Image Src' && /^\d{1,6}$/.test(cells['Image Position'] ?? '')
              ? Number(cells['Image Position'])
              : Infinity,
        })
    }
  }
  // Sorting is stable: those without a position stay in the file's order, at the end.
  const urls = [
    ...new Set(
      found.toSorted((a, b) => (a.position === b.position ? 0 : a.position - b.position)).map(({ url }) => url),
    ),
  ]
  if (urls.length > maxImages)
    warn(rows[0]!.line, 'Image Src', `only the first ${maxImages} of ${urls.length} are kept`)
  return urls.slice(0, maxImages)
}

const isWebAddress = (text: string) => text.length <= 2048 && /^https?:\/\//i.test(text) && URL.canParse(text)

// Columns that have their own field, belong to one row only, or are the merchant's own business.
const notAttributes = new RegExp(
  `^(${[
    'Handle|Title|Body \\(HTML\\)|Vendor|Product Category|Tags|Published|Status',
    'Option\\d .*|Variant .*|Image .*|Price( .*)?|Compare At Price( .*)?|Included .*|Cost per item',
  ].join('|')})$`,
)
const variantAttributes = {
  barcode: 'Variant Barcode',
  compareAtPrice: 'Variant Compare At Price',
  grams: 'Variant Grams',
  weightUnit: 'Variant Weight Unit',
  taxCode: 'Variant Tax Code',
}

function attributesOf(main: Row, variants: ImportedVariant[], rows: Row[]): Record<string, unknown> {
  const attributes: Record<string, unknown> = {}
  const tags = [
    ...new Set(
      (main.cells['Tags'] ?? '')
        .split(',')
        .map((tag) => tag.trim())
        .filter((tag) => tag !== ''),
    ),
  ]
  if (tags.length > 0) attributes['tags'] = tags
  for (const [name, value] of Object.entries(main.cells))
    if (!notAttributes.test(name) && name !== '__proto__' && !(name === 'Gift Card' && value.toLowerCase() === 'false'))
      attributes[name.slice(0, 100)] = value
  const ofVariants = variants.flatMap(({ sku, line }) => {
    const { cells } = rows.find((row) => row.line === line)!
    const own = Object.entries(variantAttributes).filter(
      ([, column]) => cells[column] !== undefined && !(column === 'Variant Grams' && /^0+(\.0+)?$/.test(cells[column])),
    )
    // A unit means nothing without a weight.
    const said = own.filter(([name]) => name !== 'weightUnit' || own.some(([other]) => other === 'grams'))
    return said.length > 0
      ? [[sku, Object.fromEntries(said.map(([name, column]) => [name, cells[column]]))] as const]
      : []
  })
  if (ofVariants.length > 0) attributes['variants'] = Object.fromEntries(ofVariants)
  return attributes
}

/** Returns where in the file a field of the API came from. */
export function placeOf(field: string, product: ImportedProduct): { line: number; field: string } {
  const [head = '', index, rest] = field.split('.')
  if (head === 'variants') {
    const line = product.variants[Number(index)]?.line ?? product.line
    const column = rest === 'price' ? 'Variant Price' : rest === 'options' ? 'Option1 Value' : 'Variant SKU'
    return { line, field: column }
  }
  const columns: Record<string, string> = {
    title: 'Title',
    description: 'Body (HTML)',
    vendor: 'Vendor',
    images: 'Image Src',
    path: 'Product Category',
    categoryId: 'Product Category',
    productId: 'Handle',
  }
  return { line: product.line, field: columns[head] ?? (head === 'attributes' && index ? index : field) }
}
