import { invalidFields, type FieldError } from '#lib/errors.ts'
import { normaliseLine, skuRule, textProblem, type TextRule } from '#lib/text.ts'
import { parseAttributes } from './attributes.ts'
import { parseDescription } from './description.ts'
import { priceProblems, type Money } from './price.ts'
import {
  combinationOf,
  isHandle,
  maxHandleLength,
  type Option,
  type ProductChange,
  type ProductContent,
  type Variant,
} from './product.ts'

// Which input makes a product. No I/O.

/** What a client sent; `price` is undefined if it sent none. */
export type ProductInput = {
  handle: string
  title: string
  description: string
  vendor: string
  categoryId: string
  images: string[]
  attributes: { [name: string]: unknown } | undefined
  variants: { sku: string; options: { [name: string]: string }; price: Money | undefined }[]
  published: boolean
}

/** What a client wants to change; undefined stays as it is. */
export type ChangeInput = {
  title?: string | undefined
  description?: string | undefined
  vendor?: string | undefined
  categoryId?: string | undefined
  images?: { values: string[] } | undefined
  attributes?: { [name: string]: unknown } | undefined
  variants: {
    sku: string
    options?: { values: { [name: string]: string } } | undefined
    price?: Money | undefined
  }[]
  published?: boolean | undefined
}

type Report = (field: string, message: string) => void

const titleRule = { min: 1, max: 255 }
const vendorRule = { max: 255 }
const optionNameRule = { min: 1, max: 100 }
const optionValueRule = { min: 1, max: 255 }
const maxImages = 50
const maxUrlLength = 2048
const maxVariants = 100
const maxOptions = 5
const maxReported = 20

/**
 * Checks and normalises what a client sent. Throws `invalid` naming the wrong fields by paths such
 * as `variants.0.sku`.
 */
export function parseProduct(input: ProductInput): ProductContent {
  const { report, throwReported } = createReport()
  if (!isHandle(input.handle))
    report(
      'handle',
      `must be lower-case letters and digits in groups joined by hyphens, at most ${maxHandleLength} characters`,
    )
  const content: ProductContent = {
    handle: input.handle,
    title: parseLine('title', input.title, titleRule, report),
    description: parseDescription(input.description, (message) => report('description', message)),
    vendor: parseLine('vendor', input.vendor, vendorRule, report),
    categoryId: input.categoryId,
    images: parseImages(input.images, report),
    attributes: parseAttributes(input.attributes ?? {}, report),
    variants: parseVariants(input.variants, report),
    published: input.published,
  }
  throwReported()
  return content
}

/**
 * Checks and normalises what a client wants to change. Throws `invalid` naming the wrong fields by
 * paths such as `variants.0.sku`.
 */
export function parseChange(input: ChangeInput): ProductChange {
  const { report, throwReported } = createReport()
  const { title, description, vendor, categoryId, images, attributes, variants, published } = input
  const change: ProductChange = {
    ...(title !== undefined && { title: parseLine('title', title, titleRule, report) }),
    ...(description !== undefined && {
      description: parseDescription(description, (message) => report('description', message)),
    }),
    ...(vendor !== undefined && { vendor: parseLine('vendor', vendor, vendorRule, report) }),
    ...(categoryId !== undefined && { categoryId }),
    ...(images !== undefined && { images: parseImages(images.values, report) }),
    ...(attributes !== undefined && { attributes: parseAttributes(attributes, report) }),
    ...(variants.length > 0 && { variants: parseVariantChanges(variants, report) }),
    ...(published !== undefined && { published }),
  }
  throwReported()
  return change
}

function parseVariantChanges(input: ChangeInput['variants'], report: Report): NonNullable<ProductChange['variants']> {
  if (input.length > maxVariants) report('variants', `must have at most ${maxVariants} variants`)
  const skus = new Set<string>()
  return input.slice(0, maxVariants).map(({ sku, options, price }, i) => {
    const field = `variants.${i}`
    const clean = normaliseLine(sku, skuRule)
    if (skus.has(clean)) report(`${field}.sku`, 'must differ from the SKUs of the other variants')
    skus.add(clean)
    if (price) for (const problem of priceProblems(`${field}.price`, price)) report(problem.field, problem.message)
    return {
      sku: clean,
      ...(options && { options: parseOptions(`${field}.options`, options.values, report) }),
      ...(price && { price: { amount: price.amount, currency: price.currency } }),
    }
  })
}

function createReport(): { report: Report; throwReported: () => void } {
  const fields: FieldError[] = []
  return {
    // A request can be wrong in thousands of places; people read the first few.
    report: (field, message) => void (fields.length < maxReported && fields.push({ field, message })),
    throwReported() {
      if (fields.length > 0) throw invalidFields(fields)
    },
  }
}

function parseLine(field: string, text: string, rule: TextRule, report: Report): string {
  const clean = normaliseLine(text, rule)
  const problem = textProblem(clean, rule)
  if (problem) report(field, problem)
  return clean
}

function parseImages(urls: string[], report: Report): string[] {
  if (urls.length > maxImages) {
    report('images', `must have at most ${maxImages} URLs`)
    return []
  }
  return urls.map((text, i) => {
    const url = text.length <= maxUrlLength ? URL.parse(text.trim()) : null
    const valid =
      url &&
      (url.protocol === 'https:' || url.protocol === 'http:') &&
      url.username === '' &&
      url.password === '' &&
      url.href.length <= maxUrlLength
    if (!valid || textProblem(text, { max: maxUrlLength }))
      report(`images.${i}`, `must be an http or https URL of at most ${maxUrlLength} characters`)
    return url?.href ?? ''
  })
}

function parseVariants(input: ProductInput['variants'], report: Report): Variant[] {
  if (input.length < 1 || input.length > maxVariants) {
    report('variants', `must have 1 to ${maxVariants} variants`)
    return []
  }
  const skus = new Set<string>()
  const combinations = new Set<string>()
  return input.map((variant, i): Variant => {
    const field = `variants.${i}`
    const sku = parseLine(`${field}.sku`, variant.sku, skuRule, report)
    if (skus.has(sku)) report(`${field}.sku`, 'must differ from the SKUs of the other variants')
    skus.add(sku)

    const options = parseOptions(`${field}.options`, variant.options, report)
    const combination = combinationOf(options)
    if (combinations.has(combination)) report(`${field}.options`, 'must differ from those of the other variants')
    combinations.add(combination)

    for (const problem of priceProblems(`${field}.price`, variant.price)) report(problem.field, problem.message)
    return { sku, options, price: { amount: variant.price?.amount ?? 0, currency: variant.price?.currency ?? '' } }
  })
}

function parseOptions(field: string, input: { [name: string]: string }, report: Report): Option[] {
  const entries = Object.entries(input)
  if (entries.length > maxOptions) report(field, `must have at most ${maxOptions} options`)
  const options = entries.slice(0, maxOptions).map(([name, value]) => {
    const shortName = [...name].slice(0, optionNameRule.max).join('')
    return {
      name: parseLine(field, name, optionNameRule, report),
      value: parseLine(`${field}.${shortName}`, value, optionValueRule, report),
    }
  })
  if (new Set(options.map(({ name }) => name)).size < options.length)
    report(field, 'must not have two options of one name')
  return options
}
