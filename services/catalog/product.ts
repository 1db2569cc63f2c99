import { isDeepStrictEqual } from 'node:util'
import sanitizeHtml from 'sanitize-html'
import * as z from 'zod'
import { AppError, type FieldError } from '#lib/errors.ts'
import { hashName, textProblem } from './text.ts'

// What a product is and which input makes one. No I/O.

export type Money = { amount: number; currency: string }
export type Variant = { sku: string; options: { name: string; value: string }[]; price: Money }
export type Attribute = string | number | boolean | null | Attribute[] | { [name: string]: Attribute }

/** What a seller says of a product, checked and normalised. */
export type ProductContent = {
  handle: string
  title: string
  description: string
  vendor: string
  categoryId: string
  images: string[]
  attributes: { [name: string]: Attribute }
  variants: Variant[]
  published: boolean
}

/** A product as it is stored. */
export type StoredProduct = ProductContent & {
  id: string
  /**
   * What lists find it by: 'all', its category and all above it; empty while it is not published.
   */
  listedIn: string[]
  /** RFC 3339 */
  updatedAt: string
}

/** What a client sent; `price` is absent when it sent none. */
export type ProductInput = {
  handle: string
  title: string
  description: string
  vendor: string
  categoryId: string
  images: string[]
  attributes: { [name: string]: unknown } | undefined
  variants: {
    sku: string
    options: { [name: string]: string }
    price: { amount: number; currency: string } | undefined
  }[]
  published: boolean
}

export const everywhere = 'all'

const limits = {
  handle: 255,
  title: 255,
  vendor: 255,
  descriptionBytes: 64 * 1024,
  images: 50,
  imageUrl: 2048,
  attributesBytes: 32 * 1024,
  attributesDepth: 8,
  attributeName: 100,
  variants: 100,
  sku: 100,
  options: 5,
  optionName: 100,
  optionValue: 255,
  amount: 10 ** 12,
}

const handlePattern = /^[a-z0-9]+(-[a-z0-9]+)*$/
const productId = /^p-[a-z2-7]{26}$/
const currencies = new Set(Intl.supportedValuesOf('currency'))

export const isProductId = (text: string) => productId.test(text)
export const isHandle = (text: string) => text.length <= limits.handle && handlePattern.test(text)

/**
 * The id of the product with this handle: the same whoever creates it when, so that creating it
 * twice makes one product.
 */
export const productIdOf = (handle: string) => `p-${hashName(handle, 26)}`

/** The one spelling of a SKU. */
export const normaliseSku = (sku: string) => (sku.length > 4 * limits.sku ? sku : sku.normalize('NFC').trim())

type Report = (field: string, message: string) => void

/**
 * Checks what a client sent and normalises it. Throws `invalid` with every wrong field, by paths
 * such as `variants.0.sku`.
 */
export function parseProduct(input: ProductInput): ProductContent {
  const fields: FieldError[] = []
  // A request can be wrong in thousands of places; a person reads the first few.
  const wrong: Report = (field, message) => void (fields.length < 20 && fields.push({ field, message }))
  const line = (field: string, text: string, o: { min?: number; max: number }) => {
    const clean = text.length > 4 * o.max ? text : text.normalize('NFC').trim()
    const problem = textProblem(clean, o)
    if (problem) wrong(field, problem)
    return clean
  }

  if (!isHandle(input.handle))
    wrong(
      'handle',
      `must be lower-case letters and digits in groups joined by hyphens, at most ${limits.handle} characters`,
    )
  const content: ProductContent = {
    handle: input.handle,
    title: line('title', input.title, { min: 1, max: limits.title }),
    description: parseDescription(input.description, wrong),
    vendor: line('vendor', input.vendor, { max: limits.vendor }),
    categoryId: input.categoryId,
    images: parseImages(input.images, wrong),
    attributes: parseAttributes(input.attributes ?? {}, wrong),
    variants: parseVariants(input.variants, wrong, line),
    published: input.published,
  }
  if (fields.length > 0)
    throw new AppError('invalid', 'invalid_field', fields.map((f) => `${f.field}: ${f.message}`).join('; '), { fields })
  return content
}

function parseDescription(html: string, wrong: Report): string {
  const tooLong = (text: string) =>
    text.length > limits.descriptionBytes || Buffer.byteLength(text) > limits.descriptionBytes
  if (tooLong(html)) {
    wrong('description', `must have at most ${limits.descriptionBytes} bytes`)
    return ''
  }
  const problem = textProblem(html, { max: limits.descriptionBytes, layout: true })
  if (problem) wrong('description', problem)
  const clean = sanitiseDescription(html)
  // What is stored must be fit to be sent again.
  if (tooLong(clean))
    wrong('description', `must have at most ${limits.descriptionBytes} bytes once & is written &amp; and so on`)
  return clean
}

/** HTML reduced to the mark-up of text and to links to the web. Harmless when repeated. */
export function sanitiseDescription(html: string): string {
  return sanitizeHtml(html.normalize('NFC'), {
    allowedTags: [
      'a',
      'abbr',
      'b',
      'blockquote',
      'br',
      'caption',
      'code',
      'dd',
      'del',
      'div',
      'dl',
      'dt',
      'em',
      'h1',
      'h2',
      'h3',
      'h4',
      'h5',
      'h6',
      'hr',
      'i',
      'ins',
      'li',
      'ol',
      'p',
      'pre',
      's',
      'small',
      'span',
      'strong',
      'sub',
      'sup',
      'table',
      'tbody',
      'td',
      'tfoot',
      'th',
      'thead',
      'tr',
      'u',
      'ul',
    ],
    allowedAttributes: {
      a: ['href', 'rel', 'title'],
      abbr: ['title'],
      td: ['colspan', 'rowspan'],
      th: ['colspan', 'rowspan', 'scope'],
    },
    allowedSchemes: ['http', 'https'],
    allowedSchemesAppliedToAttributes: ['href'],
    allowProtocolRelative: false,
    transformTags: { a: sanitizeHtml.simpleTransform('a', { rel: 'noopener' }) },
    nestingLimit: 40,
  }).trim()
}

function parseImages(urls: string[], wrong: Report): string[] {
  if (urls.length > limits.images) {
    wrong('images', `must be at most ${limits.images}`)
    return []
  }
  return urls.map((text, i) => {
    const url = text.length <= limits.imageUrl ? URL.parse(text.trim()) : null
    const fine =
      url &&
      (url.protocol === 'https:' || url.protocol === 'http:') &&
      url.username === '' &&
      url.password === '' &&
      url.href.length <= limits.imageUrl
    if (!fine || textProblem(text, { max: limits.imageUrl }))
      wrong(`images.${i}`, `must be an http or https URL of at most ${limits.imageUrl} characters`)
    return url?.href ?? ''
  })
}

function parseAttributes(input: { [name: string]: unknown }, wrong: Report): { [name: string]: Attribute } {
  const tooDeep = `must not be nested more than ${limits.attributesDepth} deep`
  function value(v: unknown, field: string, depth: number): Attribute {
    if (v === null || typeof v === 'boolean') return v
    if (typeof v === 'number') {
      if (!Number.isFinite(v)) wrong(field, 'must be a finite number')
      return v
    }
    if (typeof v === 'string') {
      const problem = textProblem(v, { max: limits.attributesBytes, layout: true })
      if (problem) wrong(field, problem)
      return v.normalize('NFC')
    }
    if (depth > limits.attributesDepth) {
      wrong(field, tooDeep)
      return null
    }
    if (Array.isArray(v)) return v.map((item, i) => value(item, `${field}.${i}`, depth + 1))
    // A `__proto__` that somebody sent ends up here.
    if (typeof v !== 'object' || Object.getPrototypeOf(v) !== Object.prototype) {
      wrong(field, 'must be JSON')
      return null
    }
    return object(v as { [name: string]: unknown }, field, depth)
  }
  function object(o: { [name: string]: unknown }, field: string, depth: number): { [name: string]: Attribute } {
    const entries = Object.entries(o).map(([name, v]): [string, Attribute] => {
      const clean = name.length > 4 * limits.attributeName ? name : name.normalize('NFC').trim()
      const problem =
        textProblem(clean, { min: 1, max: limits.attributeName }) ??
        (clean === '__proto__' ? 'is not a name' : undefined)
      if (problem) wrong(field, `the name of an attribute ${problem}`)
      return [clean, value(v, `${field}.${[...clean].slice(0, limits.attributeName).join('')}`, depth + 1)]
    })
    if (new Set(entries.map(([name]) => name)).size < entries.length)
      wrong(field, 'the names of attributes must differ')
    return Object.fromEntries(entries)
  }
  if (Object.getPrototypeOf(input) !== Object.prototype) wrong('attributes', 'must be a JSON object')
  const attributes = object(input, 'attributes', 1)
  if (Buffer.byteLength(JSON.stringify(attributes)) > limits.attributesBytes)
    wrong('attributes', `must have at most ${limits.attributesBytes} bytes as JSON`)
  return attributes
}

function parseVariants(
  input: ProductInput['variants'],
  wrong: Report,
  line: (field: string, text: string, o: { min?: number; max: number }) => string,
): Variant[] {
  if (input.length < 1 || input.length > limits.variants) {
    wrong('variants', `must be 1 to ${limits.variants}`)
    return []
  }
  const skus = new Set<string>()
  const combinations = new Set<string>()
  return input.map((variant, i): Variant => {
    const sku = line(`variants.${i}.sku`, variant.sku, { min: 1, max: limits.sku })
    if (skus.has(sku)) wrong(`variants.${i}.sku`, 'must differ from those of the other variants')
    skus.add(sku)

    const named = Object.entries(variant.options)
    if (named.length > limits.options) wrong(`variants.${i}.options`, `must be at most ${limits.options}`)
    const options = named.slice(0, limits.options).map(([name, value]) => ({
      name: line(`variants.${i}.options`, name, { min: 1, max: limits.optionName }),
      value: line(`variants.${i}.options.${[...name].slice(0, limits.optionName).join('')}`, value, {
        min: 1,
        max: limits.optionValue,
      }),
    }))
    const sorted = options.map((o) => [o.name, o.value]).sort(([a], [b]) => (a! < b! ? -1 : 1))
    if (sorted.some(([name], j) => name === sorted[j - 1]?.[0]))
      wrong(`variants.${i}.options`, 'the names of options must differ')
    const combination = JSON.stringify(sorted)
    if (combinations.has(combination)) wrong(`variants.${i}.options`, 'must differ from those of the other variants')
    combinations.add(combination)

    return { sku, options, price: checkPrice(`variants.${i}.price`, variant.price, wrong) }
  })
}

function checkPrice(field: string, price: { amount: number; currency: string } | undefined, wrong: Report): Money {
  if (!price) wrong(field, 'is missing')
  else if (!Number.isInteger(price.amount) || price.amount < 0 || price.amount > limits.amount)
    wrong(`${field}.amount`, `must be 0 to ${limits.amount} in the currency's minor unit`)
  if (price && !currencies.has(price.currency)) wrong(`${field}.currency`, 'must be an ISO 4217 code such as USD')
  return { amount: price?.amount ?? 0, currency: price?.currency ?? '' }
}

/** Checks a price. Throws `invalid` naming `price`, `price.amount` or `price.currency`. */
export function parsePrice(price: { amount: number; currency: string } | undefined): Money {
  const fields: FieldError[] = []
  const money = checkPrice('price', price, (field, message) => void fields.push({ field, message }))
  if (fields.length > 0)
    throw new AppError('invalid', 'invalid_field', fields.map((f) => `${f.field}: ${f.message}`).join('; '), { fields })
  return money
}

/**
 * The product that replaces `before` (undefined: there was none), or undefined when that would
 * change nothing. `categoryIds`: its category and all above.
 */
export function replaceProduct(
  before: StoredProduct | undefined,
  content: ProductContent,
  categoryIds: string[],
  now: Date,
): StoredProduct | undefined {
  const after: StoredProduct = {
    ...content,
    id: productIdOf(content.handle),
    listedIn: content.published ? [everywhere, ...categoryIds] : [],
    updatedAt: before?.updatedAt ?? now.toISOString(),
  }
  // As JSON, since that is how it was stored: -0 is 0 there. Options are a set, attributes too.
  const plain = (p: StoredProduct) =>
    JSON.parse(
      JSON.stringify({
        ...p,
        variants: p.variants.map((v) => ({
          ...v,
          options: Object.fromEntries(v.options.map((o) => [o.name, o.value])),
        })),
      }),
    )
  if (before && isDeepStrictEqual(plain(before), plain(after))) return undefined
  return { ...after, updatedAt: now.toISOString() }
}

/**
 * The product with one variant's price changed, or undefined when it has that price already or has
 * no such SKU.
 */
export function changePrice(before: StoredProduct, sku: string, price: Money, now: Date): StoredProduct | undefined {
  const variant = before.variants.find((v) => v.sku === sku)
  if (!variant || isDeepStrictEqual(variant.price, price)) return undefined
  return {
    ...before,
    variants: before.variants.map((v) => (v === variant ? { ...v, price } : v)),
    updatedAt: now.toISOString(),
  }
}

// MongoDB's field names: a dot or a leading dollar sign means something else in a query, so both
// are written in another way.
const encodeName = (name: string) => name.replace(/[%.$]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)
const decodeName = (name: string) =>
  name.replace(/%(25|2E|24)/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))

/** Attributes with names that every document store takes; decodeAttributes is its inverse. */
export const encodeAttributes = (value: Attribute): Attribute => mapNames(value, encodeName)
export const decodeAttributes = (value: Attribute): Attribute => mapNames(value, decodeName)

function mapNames(value: Attribute, rename: (name: string) => string): Attribute {
  if (Array.isArray(value)) return value.map((v) => mapNames(v, rename))
  if (value === null || typeof value !== 'object') return value
  return Object.fromEntries(Object.entries(value).map(([name, v]) => [rename(name), mapNames(v, rename)]))
}

export const moneySchema = z.object({ amount: z.number(), currency: z.string() })
/** A product as it is read back from the store. */
export const storedProductSchema: z.ZodType<StoredProduct> = z.object({
  id: z.string(),
  handle: z.string(),
  title: z.string(),
  description: z.string(),
  vendor: z.string(),
  categoryId: z.string(),
  images: z.array(z.string()),
  attributes: z
    .record(z.string(), z.unknown())
    .transform((a) => decodeAttributes(a as Attribute) as { [name: string]: Attribute }),
  variants: z.array(
    z.object({
      sku: z.string(),
      options: z.array(z.object({ name: z.string(), value: z.string() })),
      price: moneySchema,
    }),
  ),
  published: z.boolean(),
  listedIn: z.array(z.string()),
  updatedAt: z.string(),
})

const cursorPrefix = '1.'
/** Where the next page begins: after this product. Opaque to clients. */
export const cursorAfter = (id: string) => Buffer.from(cursorPrefix + id).toString('base64url')
/**
 * The product id in a cursor. Throws `invalid` bad_cursor for anything that cursorAfter did not
 * make.
 */
export function parseCursor(cursor: string): string {
  const id = Buffer.from(cursor.slice(0, 100), 'base64url').toString().slice(cursorPrefix.length)
  if (!isProductId(id) || cursorAfter(id) !== cursor) {
    throw new AppError('invalid', 'bad_cursor', 'cursor: must be one that a page before gave', {
      fields: [{ field: 'cursor', message: 'must be one that a page before gave' }],
    })
  }
  return id
}
