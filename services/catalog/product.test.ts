import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { AppError } from '#lib/errors.ts'
import {
  changePrice,
  cursorAfter,
  decodeAttributes,
  encodeAttributes,
  isProductId,
  parseCursor,
  parseProduct,
  productIdOf,
  replaceProduct,
  sanitiseDescription,
  type Attribute,
  type ProductInput,
  type StoredProduct,
} from './product.ts'

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
const variant = (o: object) => ({ variants: [{ ...pot.variants[0], ...o }] }) as Partial<ProductInput>
const then = new Date('2026-01-01T00:00:00Z')
const later = new Date('2026-01-02T00:00:00Z')

function wrongFields(change: Partial<ProductInput>): string[] {
  try {
    parseProduct({ ...pot, ...change })
    return []
  } catch (error) {
    return [...new Set((error as AppError).fields.map((f) => f.field))]
  }
}

/** Any UTF-16, halves of surrogate pairs and control characters included. */
const anything = fc
  .array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 60 })
  .map((units) => String.fromCharCode(...units))

describe('parseProduct', () => {
  test('takes what is fine, in one spelling', () => {
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
  ])('names %s when it is wrong (%j)', (field, change) => {
    expect(wrongFields(change)).toEqual([field])
  })

  test('what it made, it takes again as it is', () => {
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

  test('free-form attributes are kept as they are', () => {
    const attributes = { 'a.b': { $gt: 1 }, '100%': [1.5, null, true, { 'x y': 'z\n' }] }
    expect(parseProduct({ ...pot, attributes }).attributes).toEqual(attributes)
  })

  test('text of any kind is taken or refused, and nothing else happens', () => {
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

describe('sanitiseDescription', () => {
  test.each([
    ['<p onclick="x()">Hi <b>there</b></p>', '<p>Hi <b>there</b></p>'],
    ['<script>alert(1)</script>Hi', 'Hi'],
    ['<a href="javascript:alert(1)">x</a>', '<a rel="noopener">x</a>'],
    ['<a href="//evil.example">x</a>', '<a rel="noopener">x</a>'],
    [
      '<a href="https://example.com" target="_top" rel="opener">x</a>',
      '<a href="https://example.com" rel="noopener">x</a>',
    ],
    ['<img src=x onerror=alert(1)><iframe src="https://example.com"></iframe>', ''],
    ['<span style="position:fixed">x</span>', '<span>x</span>'],
    ['1 < 2 & 3', '1 &lt; 2 &amp; 3'],
  ])('%s becomes %s', (html, clean) => {
    expect(sanitiseDescription(html)).toBe(clean)
  })

  test('what it made, it leaves as it is', () => {
    const pieces = fc.constantFrom(
      '<p>',
      '</p>',
      '<a href="https://e.example/?a=1&b=2">',
      '</a>',
      '<script>',
      '</script>',
      '<',
      '>',
      '&',
      '&lt;',
      '"',
      "'",
      '<!--',
      '-->',
      'x',
      ' ',
      '<td>',
      '<b/>',
      'é',
    )
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 30 }), (parts) => {
        const once = sanitiseDescription(parts.join(''))
        expect(sanitiseDescription(once)).toBe(once)
        expect(once).not.toMatch(/<script/i)
      }),
    )
  })
})

describe('replaceProduct', () => {
  const stored = replaceProduct(undefined, parseProduct(pot), ['c-a', 'c-b'], then)!

  test('a published product is listed everywhere, in its category and in all above', () => {
    expect(stored).toMatchObject({
      id: productIdOf('clay-pot'),
      listedIn: ['all', 'c-a', 'c-b'],
      updatedAt: then.toISOString(),
    })
    expect(isProductId(stored.id)).toBe(true)
  })

  test('an unpublished product is listed nowhere', () => {
    expect(replaceProduct(stored, parseProduct({ ...pot, published: false }), ['c-a'], later)!.listedIn).toEqual([])
  })

  test('the same again changes nothing, in whatever order options and attributes come', () => {
    const attributes = { a: 1, b: -0 }
    const first = replaceProduct(
      undefined,
      parseProduct({ ...pot, attributes, ...variant({ options: { A: '1', B: '2' } }) }),
      [],
      then,
    )!
    const again = parseProduct({ ...pot, attributes: { b: 0, a: 1 }, ...variant({ options: { B: '2', A: '1' } }) })
    expect(replaceProduct(first, again, [], later)).toBeUndefined()
  })

  test('a change is dated', () => {
    expect(replaceProduct(stored, parseProduct({ ...pot, title: 'Pot' }), ['c-a', 'c-b'], later)).toMatchObject({
      title: 'Pot',
      updatedAt: later.toISOString(),
    })
    expect(replaceProduct(stored, parseProduct(pot), ['c-c'], later)).toMatchObject({ listedIn: ['all', 'c-c'] })
  })
})

test('a price is changed in one variant, and not when it is the same', () => {
  const stored = replaceProduct(undefined, parseProduct(pot), [], then) as StoredProduct
  expect(
    changePrice(stored, 'POT-L', { amount: 1, currency: 'USD' }, later)!.variants.map((v) => v.price.amount),
  ).toEqual([999, 1])
  expect(changePrice(stored, 'POT-L', { amount: 1599, currency: 'USD' }, later)).toBeUndefined()
  expect(changePrice(stored, 'NONE', price, later)).toBeUndefined()
})

test('attributes come back from storage names as they were', () => {
  fc.assert(
    fc.property(fc.jsonValue({ depthSize: 'small' }), fc.stringMatching(/^[%.$a2E45]{1,8}$/), (value, name) => {
      const attributes = { [name]: value as Attribute }
      const encoded = encodeAttributes(attributes)
      expect(Object.keys(encoded as object)[0]).not.toMatch(/[.$]/)
      expect(decodeAttributes(encoded)).toEqual(attributes)
    }),
  )
})

test('a cursor is taken back, and nothing else is', () => {
  const id = productIdOf('clay-pot')
  expect(parseCursor(cursorAfter(id))).toBe(id)
  for (const bad of [
    'x',
    '1',
    id,
    `${cursorAfter(id)}=`,
    `${cursorAfter(id)}A`,
    Buffer.from('2.' + id).toString('base64url'),
    Buffer.from('1.p-').toString('base64url'),
    '\ud800',
    'A'.repeat(100_000),
  ]) {
    expect(() => parseCursor(bad)).toThrow(expect.objectContaining({ code: 'bad_cursor' }))
  }
})
