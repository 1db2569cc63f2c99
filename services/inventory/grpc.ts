import { InventoryServiceService, type StockLevel } from '#protos/shop/inventory/v1/inventory.ts'
import { invalid } from '#lib/errors.ts'
import { implement } from '#lib/grpc-server.ts'
import { available, type Stock } from './stock.ts'
import type { StockStore } from './stock-store.ts'

const maxSkus = 200
const maxQuantity = 1_000_000_000

/** The RPCs of shop.inventory.v1: they check what came and leave the rest to the store. */
export const createInventoryService = (o: { store: StockStore }) =>
  implement(InventoryServiceService, {
    async getAvailability({ skus }) {
      if (skus.length > maxSkus) throw invalid('skus', `at most ${maxSkus}`)
      skus.forEach((sku, i) => checkSku(sku, `skus.${i}`))
      return { levels: (await o.store.levels(skus)).map(toLevel) }
    },

    async adjustStock({ sku, delta, adjustmentId }) {
      checkSku(sku)
      if (delta === 0 || Math.abs(delta) > maxQuantity)
        throw invalid('delta', `from -${maxQuantity} to ${maxQuantity}, not 0`)
      if (adjustmentId.length < 1 || adjustmentId.length > 200) throw invalid('adjustmentId', '1 to 200 characters')
      return { level: toLevel(await o.store.adjust({ sku, delta, adjustmentId })) }
    },

    async setSupply({ sku, source, quantity }) {
      checkSku(sku)
      // It becomes the name of a field.
      if (!/^[A-Za-z0-9][\w .:/-]{0,99}$/.test(source))
        throw invalid('source', '1 to 100 letters, digits, spaces and _.:/-, a letter or digit first')
      if (quantity < 0 || quantity > maxQuantity) throw invalid('quantity', `0 to ${maxQuantity}`)
      return { level: toLevel(await o.store.setSupply({ sku, source, quantity })) }
    },
  })

function checkSku(sku: string, field = 'sku') {
  if (sku.length < 1 || sku.length > 100) throw invalid(field, '1 to 100 characters')
}

const toLevel = (s: Stock): StockLevel => ({
  sku: s.sku,
  onHand: s.onHand,
  reserved: s.reserved,
  sold: s.sold,
  available: available(s),
  version: s.version,
})
