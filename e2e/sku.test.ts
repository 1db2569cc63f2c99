import { expect, it } from 'vitest'
import { place, product, shopper, terminal } from './shop-client.ts'

it('a SKU is the same in catalogue, stock and orders, however its letters are composed', async () => {
  const decomposed = await product(2, { suffix: ' cafe\u0301' })
  const composed = decomposed.normalize('NFC')
  expect(composed).not.toBe(decomposed)
  const who = await shopper()
  for (const sku of [decomposed, composed]) {
    const { body } = await place(who, sku)
    expect(await terminal(who, body.id)).toMatchObject({ status: 'CONFIRMED', lines: [{ sku: composed }] })
  }
})
