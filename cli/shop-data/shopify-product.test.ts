import { Readable } from 'node:stream'
import { describe, expect, test } from 'vitest'
import { openCsv, readRows, type Problem, type Row } from './csv-rows.ts'
import { buildProduct, placeOf, type Built } from './shopify-product.ts'

const header = [
  'Handle',
  'Title',
  'Body (HTML)',
  'Vendor',
  'Product Category',
  'Type',
  'Tags',
  'Published',
  'Option1 Name',
  'Option1 Value',
  'Option2 Name',
  'Option2 Value',
  'Variant SKU',
  'Variant Grams',
  'Variant Inventory Qty',
  'Variant Inventory Policy',
  'Variant Price',
  'Image Src',
  'Image Position',
  'Google Shopping / Google Product Category',
  'SEO Title',
  'Variant Image',
  'Cost per item',
]

const csv = (...rows: Record<string, string>[]) =>
  [header.join(','), ...rows.map((row) => header.map((name) => quoted(row[name] ?? '')).join(','))].join('\n')
const quoted = (text: string) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text)

async function read(text: string): Promise<(Row | Problem)[]> {
  const rows: (Row | Problem)[] = []
  for await (const row of readRows(Readable.from([text]))) rows.push(row)
  return rows
}

async function build(...rows: Record<string, string>[]): Promise<Built> {
  return buildProduct(
    (await read(csv(...rows))).filter((row) => 'cells' in row),
    'USD',
  )
}

const lamp = {
  Handle: 'brass-lamp',
  Title: 'Brass Lamp',
  'Variant Price': '24.50',
  'Variant Inventory Qty': '3',
  'Option1 Name': 'Title',
  'Option1 Value': 'Default Title',
}
const textOf = (problems: Problem[]) => problems.map(({ line, field, message }) => `line ${line}: ${field}: ${message}`)

describe('rows', () => {
  test('each row has the line it begins on, despite a BOM, CRLF, quoted newlines and blank lines', async () => {
    const rows = await read('\ufeffHandle,Title\r\na,"two\r\nlines"\r\n\r\nb,B\r\n,\r\nc,C\r\n')
    expect(rows).toEqual([
      { line: 2, cells: { Handle: 'a', Title: 'two\nlines' } },
      { line: 5, cells: { Handle: 'b', Title: 'B' } },
      { line: 7, cells: { Handle: 'c', Title: 'C' } },
    ])
  })

  test('a row with too few or too many columns is a problem, and the next row is read', async () => {
    expect(await read('a,b\n1\n1,2,3\n1,2,\nx,y\n')).toEqual([
      { line: 2, field: 'row', message: 'has 1 columns where the header has 2' },
      { line: 3, field: 'row', message: 'has 3 columns where the header has 2' },
      { line: 4, cells: { a: '1', b: '2' } },
      { line: 5, cells: { a: 'x', b: 'y' } },
    ])
  })

  test('rows before a quote that is never closed are read', async () => {
    const rows = await read('a,b\n1,2\n3,"4\n5,6\n')
    expect(rows).toMatchObject([
      { line: 2 },
      { line: 3, field: 'row', message: expect.stringContaining('never closed') },
    ])
  })

  test('throws when the file cannot be read', async () => {
    await expect(readRows(openCsv('/no/such/file.csv')).next()).rejects.toThrow('ENOENT')
  })

  test('throws without a header, and when it lacks a required column', async () => {
    await expect(read('')).rejects.toThrow('no header')
    const rows = readRows(Readable.from(['a,b\n']), ['a', 'Handle'])
    await expect(rows.next()).rejects.toThrow('"Handle"')
  })
})

describe('a product', () => {
  test('with one variant has no options, and its handle as SKU', async () => {
    const { product, errors, warnings } = await build({
      ...lamp,
      'Body (HTML)': '<p>Warm</p>',
      Vendor: 'Acme',
      Tags: 'Brass, Light ,Brass',
      'SEO Title': 'Lamp!',
      'Cost per item': '9',
    })
    expect({ errors, warnings }).toEqual({ errors: [], warnings: [] })
    expect(product).toEqual({
      handle: 'brass-lamp',
      line: 2,
      title: 'Brass Lamp',
      description: '<p>Warm</p>',
      vendor: 'Acme',
      category: [],
      images: [],
      published: true,
      attributes: { tags: ['Brass', 'Light'], 'SEO Title': 'Lamp!' },
      variants: [
        {
          line: 2,
          sku: 'brass-lamp',
          derived: true,
          options: {},
          price: { amount: 2450, currency: 'USD' },
          quantity: 3,
        },
      ],
    })
  })

  test('takes more variants and images from the rows without a title', async () => {
    const { product, errors } = await build(
      {
        ...lamp,
        'Option1 Name': 'Size',
        'Option1 Value': 'Regular',
        'Option2 Name': 'Colour',
        'Option2 Value': 'Red',
        'Image Src': 'https://i.example/2.jpg',
        'Image Position': '2',
      },
      {
        Handle: 'brass-lamp',
        'Option1 Value': 'Large',
        'Option2 Value': 'Red',
        'Variant Price': '30',
        'Variant Inventory Qty': '1',
        'Variant SKU': "'007",
        'Image Src': 'https://i.example/1.jpg',
        'Image Position': '1',
      },
      {
        Handle: 'brass-lamp',
        'Image Src': 'https://i.example/3.jpg',
        'Image Position': '3',
        'Variant Image': 'https://i.example/1.jpg',
      },
    )
    expect(errors).toEqual([])
    expect(product!.images).toEqual(['https://i.example/1.jpg', 'https://i.example/2.jpg', 'https://i.example/3.jpg'])
    expect(product!.variants.map(({ sku, options, price }) => [sku, options, price.amount])).toEqual([
      ['brass-lamp-regular-red', { Size: 'Regular', Colour: 'Red' }, 2450],
      ['007', { Size: 'Large', Colour: 'Red' }, 3000],
    ])
  })

  test.each([
    [
      { 'Product Category': 'Home > Lamps', 'Google Shopping / Google Product Category': 'G', Type: 'T' },
      ['Home', 'Lamps'],
    ],
    [
      { 'Google Shopping / Google Product Category': 'Home & Garden > Lighting', Type: 'T' },
      ['Home & Garden', 'Lighting'],
    ],
    [{ 'Google Shopping / Google Product Category': '3577', Type: 'Indoor' }, ['Indoor']],
    [{ Type: 'A>B' }, ['A>B']],
    [{}, []],
  ])('%o has the category %j', async (row, category) => {
    expect((await build({ ...lamp, ...row })).product!.category).toEqual(category)
  })

  test.each([
    ['false', '', false],
    ['TRUE', 'active', true],
    ['true', 'draft', false],
    ['', 'archived', false],
    ['', '', true],
  ])('Published %j and Status %j', async (Published, Status, published) => {
    const rows = (await read(`Handle,Title,Variant Price,Published,Status\na,A,1,${Published},${Status}\n`)) as Row[]
    expect(buildProduct(rows, 'USD').product!.published).toBe(published)
  })
})

describe('problems are reported with their lines, and the rest is imported', () => {
  test('a bad row is omitted from its product', async () => {
    const { product, errors } = await build(
      { ...lamp, 'Option1 Name': 'Size', 'Option1 Value': 'S' },
      { Handle: 'brass-lamp', 'Option1 Value': 'M', 'Variant Price': '1,50', 'Variant Inventory Qty': '1' },
      { Handle: 'brass-lamp', 'Option1 Value': 'L', 'Variant Price': '2', 'Variant Inventory Qty': 'many' },
      { Handle: 'brass-lamp', 'Option1 Value': 'S', 'Variant Price': '2', 'Variant Inventory Qty': '1' },
      { Handle: 'brass-lamp', 'Variant Price': '2', 'Variant Inventory Qty': '1' },
      {
        Handle: 'brass-lamp',
        'Option1 Value': 'XL',
        'Variant Price': '9.999',
        'Variant Inventory Qty': '1',
        'Image Src': 'pot.jpg',
      },
    )
    expect(textOf(errors)).toEqual([
      'line 3: Variant Price: must be a number with a point and no commas',
      'line 4: Variant Inventory Qty: must be a whole number',
      'line 5: Option1 Value: has the same options as line 2',
      'line 6: Option1 Value: is required',
      'line 7: Variant Price: has more than the 2 decimals of USD',
      'line 7: Image Src: must be an http or https URL',
    ])
    expect(product!.variants.map(({ sku }) => sku)).toEqual(['brass-lamp-s'])
  })

  test('without a title or a valid variant there is no product', async () => {
    const untitled = await build({ ...lamp, Title: '' })
    expect([untitled.product, textOf(untitled.errors)]).toEqual([undefined, ['line 2: Title: is required']])
    const unpriced = await build({ ...lamp, 'Variant Price': '' })
    expect([unpriced.product, textOf(unpriced.errors)]).toEqual([undefined, ['line 2: Variant Price: is required']])
  })

  test('warns of negative stock and of overselling', async () => {
    const { product, errors, warnings } = await build({
      ...lamp,
      'Variant Inventory Qty': '-4',
      'Variant Inventory Policy': 'continue',
    })
    expect(errors).toEqual([])
    expect(textOf(warnings)).toEqual([
      'line 2: Variant Inventory Qty: is -4: 0 in stock',
      'line 2: Variant Inventory Policy: is ignored: sold-out variants cannot be ordered',
    ])
    expect(product!.variants[0]!.quantity).toBe(0)
  })

  test('line and paragraph separators in a description become line ends', async () => {
    const { product, errors } = await build({ ...lamp, 'Body (HTML)': '<p>one\u2028two\u2029three</p>' })
    expect(errors).toEqual([])
    expect(product!.description).toBe('<p>one\ntwo\nthree</p>')
  })

  test('a SKU in two spellings is one SKU', async () => {
    const { product, errors } = await build(
      { ...lamp, 'Option1 Name': 'Size', 'Option1 Value': 'S', 'Variant SKU': 'caf\u00e9' },
      { ...lamp, Title: '', 'Option1 Value': 'M', 'Variant SKU': 'cafe\u0301' },
    )
    expect(errors).toMatchObject([{ line: 3, field: 'Variant SKU' }])
    expect(product!.variants.map(({ sku }) => sku)).toEqual(['caf\u00e9'])
  })

  test('fields of the API are traced back to lines and columns', async () => {
    const { product } = await build(
      { ...lamp, 'Option1 Name': 'Size', 'Option1 Value': 'S' },
      { Handle: 'brass-lamp', 'Option1 Value': 'M', 'Variant Price': '1', 'Variant Inventory Qty': '1' },
    )
    expect(
      ['variants.1.sku', 'variants.1.price.amount', 'title', 'attributes.SEO Title'].map((field) =>
        placeOf(field, product!),
      ),
    ).toEqual([
      { line: 3, field: 'Variant SKU' },
      { line: 3, field: 'Variant Price' },
      { line: 2, field: 'Title' },
      { line: 2, field: 'SEO Title' },
    ])
  })
})
