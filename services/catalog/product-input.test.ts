import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { AppError } from '#lib/errors.ts'
import { parseProduct, type ProductInput } from './product-input.ts'

const price = { amount: 999, currency: 'USD' }
const pot: ProductInput = {
  handle: 'clay-pot',
  title: 'Clay pot',
  description: '<p>For plants</p>',
  vendor: 'Company 123',
  categoryId: '',
  images: ['https://example.com/pot.jpg'],
  attributes: { material: 'clay' },
  variants: [
    { sku: 'POT-R', options: { Size: 'Regular' }, price },
    { sku: 'POT-L', options: { Size: 'Large' }, price: { ...price, amount: 1599 } },
  ],
  published: true,
}
const variant = (change: object) => ({ variants: [{ ...pot.variants[0], ...change }] }) as Partial<ProductInput>

function wrongFields(change: Partial<ProductInput>): string[] {
  try {
    parseProduct({ ...pot, ...change })
    return []
  } catch (error) {
    return [...new Set((error as AppError).fields.map((f) => f.field))]
  }
}

/** Any UTF-16, including unpaired surrogates and control characters. */
const anything = fc
  .array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 60 })
  .map((units) => String.fromCharCode(...units))

describe('parseProduct', () => {
  test('accepts valid input, in one spelling', () => {
    expect(
      parseProduct({ ...pot, title: ' Cafe\u0301 ', variants: [{ ...pot.variants[0]!, sku: ' POT-R ' }] }),
    ).toMatchObject({
      title: 'Café',
      variants: [{ sku: 'POT-R', options: [{ name: 'Size', value: 'Regular' }], price }],
    })
  })

  test.each<[string, Partial<ProductInput>]>([
    ['handle', { handle: 'Clay Pot' }],
    ['handle', { handle: '' }],
    ['handle', { handle: 'a--b' }],
    ['handle', { handle: 'a'.repeat(256) }],
    ['title', { title: ' ' }],
    ['title', { title: 'x'.repeat(256) }],
    ['title', { title: 'a\0b' }],
    ['title', { title: '\udfff' }],
    ['vendor', { vendor: 'x\u001b' }],
    ['description', { description: 'x'.repeat(65_537) }],
    ['description', { description: '&'.repeat(60_000) }],
    ['description', { description: '\0' }],
    ['images.1', { images: ['https://example.com/', 'javascript:alert(1)'] }],
    ['images.0', { images: ['https://user:secret@example.com/'] }],
    ['images.0', { images: ['pot.jpg'] }],
    ['images', { images: Array(51).fill('https://example.com/') }],
    ['attributes.n', { attributes: { n: Number.NaN } }],
    ['attributes.a.b', { attributes: { a: { b: '\0' } } }],
    ['attributes', { attributes: { '': 1 } }],
    ['attributes', { attributes: { big: 'x'.repeat(32_768) } }],
    ['attributes', { attributes: { 'Cafe\u0301': 1, Café: 2 } }],
    ['attributes.a.0.0.0.0.0.0.0', { attributes: { a: [[[[[[[[1]]]]]]]] } }],
    ['attributes', { attributes: JSON.parse('{"__proto__": {"x": 1}}') }],
    ['variants', { variants: [] }],
    [
      'variants',
      { variants: Array.from({ length: 101 }, (_, i) => ({ sku: `s${i}`, options: { n: `${i}` }, price })) },
    ],
    ['variants.0.sku', variant({ sku: '' })],
    ['variants.0.sku', variant({ sku: 'x'.repeat(101) })],
    ['variants.0.sku', variant({ sku: 'a\tb' })],
    ['variants.1.sku', { variants: [pot.variants[0]!, { ...pot.variants[1]!, sku: 'POT-R' }] }],
    ['variants.1.options', { variants: [pot.variants[0]!, { ...pot.variants[1]!, options: { Size: 'Regular' } }] }],
    ['variants.0.options.Size', variant({ options: { Size: '' } })],
    ['variants.0.price', variant({ price: undefined })],
    ['variants.0.price.amount', variant({ price: { amount: -1, currency: 'USD' } })],
    ['variants.0.price.amount', variant({ price: { amount: 10 ** 12 + 1, currency: 'USD' } })],
    ['variants.0.price.amount', variant({ price: { amount: 0.5, currency: 'USD' } })],
    ['variants.0.price.currency', variant({ price: { amount: 1, currency: 'usd' } })],
    ['variants.0.price.currency', variant({ price: { amount: 1, currency: 'XQZ' } })],
  ])('names %s if it is wrong (%j)', (field, change) => {
    expect(wrongFields(change)).toEqual([field])
  })

  test('accepts its own result unchanged', () => {
    const messy = {
      ...pot,
      title: ' e\u0301 ',
      description: '<b>1 < 2 & 3 ',
      images: ['HTTPS://Example.com/ä b.jpg'],
      attributes: { ' e\u0301 ': 'e\u0301' },
    }
    const once = parseProduct(messy)
    const again = {
      ...once,
      variants: once.variants.map((v) => ({
        ...v,
        options: Object.fromEntries(v.options.map((o) => [o.name, o.value])),
      })),
    }
    expect(parseProduct(again)).toEqual(once)
  })

  test('turns line and paragraph separators in multi-line text into line ends', () => {
    const text = 'one\u2028two\u2029three'
    expect(parseProduct({ ...pot, description: `${text}&#8232;four`, attributes: { care: text } })).toMatchObject({
      description: 'one\ntwo\nthree\nfour',
      attributes: { care: 'one\ntwo\nthree' },
    })
  })

  test('keeps free-form attributes as is', () => {
    const attributes = { 'a.b': { $gt: 1 }, '100%': [1.5, null, true, { 'x y': 'z\n' }] }
    expect(parseProduct({ ...pot, attributes }).attributes).toEqual(attributes)
  })

  test('accepts or refuses text of any kind, and never fails otherwise', () => {
    fc.assert(
      fc.property(
        anything,
        fc.dictionary(anything, fc.jsonValue() as fc.Arbitrary<unknown>, { noNullPrototype: true }),
        (text, attributes) => {
          wrongFields({
            handle: text,
            title: text,
            description: text,
            vendor: text,
            images: [text],
            attributes,
            variants: [{ sku: text, options: { [text]: text }, price }],
          })
        },
      ),
      { numRuns: 50 },
    )
  })
})
