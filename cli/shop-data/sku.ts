import { createHash } from 'node:crypto'
import { skuRule } from '#lib/text.ts'

/**
 * Turns text into lower-case letters, digits and single hyphens: "Größe XL" becomes "grosse-xl".
 * Returns '' for text without a Latin letter or digit.
 */
export const slug = (text: string): string =>
  text
    .normalize('NFKD')
    .toLowerCase()
    .replaceAll('ß', 'ss')
    .replaceAll('æ', 'ae')
    .replaceAll('ø', 'o')
    .replaceAll(/\p{M}/gu, '')
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^-+|-+$/g, '')

const hash = (text: string) => createHash('sha256').update(text).digest('hex').slice(0, 8)

/**
 * Derives SKUs for variants without one from the product's handle and their option values alone, so
 * a row gets the same SKU whatever the other rows are. A hash distinguishes values whose slugs are
 * equal or empty.
 */
export function deriveSkus(handle: string, variants: { values: string[] }[]): string[] {
  const plain = variants.map(({ values }) => [handle, ...values.map((value) => slug(value) || hash(value))].join('-'))
  return plain.map((sku, i) =>
    plain.indexOf(sku) !== plain.lastIndexOf(sku) || sku.length > skuRule.max
      ? hashedSku(sku, variants[i]!.values)
      : sku,
  )
}

/** Returns the variant's longer SKU, for when another product has the shorter one. */
export const hashedSku = (sku: string, values: string[]): string =>
  `${sku.slice(0, skuRule.max - 9)}-${hash(JSON.stringify([sku, ...values]))}`
