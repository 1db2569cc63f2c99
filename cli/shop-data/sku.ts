import { createHash } from 'node:crypto'
import { skuRule } from '#lib/text.ts'

/**
 * Lower-case letters, digits and single hyphens: "Größe XL" is "grosse-xl". Empty for text without
 * any Latin letter or digit.
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
 * SKUs for a product's variants that have none, made of nothing but its handle and their option
 * values, so that the same row gets the same SKU whatever stands around it. Values that look the
 * same as slugs, or have none, are told apart by a hash.
 */
export function deriveSkus(handle: string, variants: { values: string[] }[]): string[] {
  const plain = variants.map(({ values }) => [handle, ...values.map((value) => slug(value) || hash(value))].join('-'))
  return plain.map((sku, i) =>
    plain.indexOf(sku) !== plain.lastIndexOf(sku) || sku.length > skuRule.max
      ? hashedSku(sku, variants[i]!.values)
      : sku,
  )
}

/** A longer name for the same variant, for when another product has its first one. */
export const hashedSku = (sku: string, values: string[]): string =>
  `${sku.slice(0, skuRule.max - 9)}-${hash(JSON.stringify([sku, ...values]))}`
