import type { InventoryServiceService, StockLevel } from '#protos/shop/inventory/v1/inventory.ts'
import { invalid } from '#lib/errors.ts'
import type { Handlers } from '#lib/grpc-server.ts'
import { lengthProblem, normaliseSku, skuProblem } from '#lib/text.ts'
import { available, type Stock } from './stock.ts'
import type { StockStore } from './stock-store.ts'

const maxSkus = 200
const maxQuantity = 1_000_000_000

/** The RPCs of protos/shop/inventory/v1/inventory.proto, which lists their errors. */
export function createInventoryHandlers(deps: { store: StockStore }): Handlers<typeof InventoryServiceService> {
  const { store } = deps
  return {
    async getAvailability({ skus }) {
      if (skus.length > maxSkus) throw invalid('skus', `must have at most ${maxSkus} SKUs`)
      const levels = await store.levels(skus.map((sku, i) => parseSku(sku, `skus.${i}`)))
      return { levels: levels.map(toMessage) }
    },

    async adjustStock(request) {
      const { delta, adjustmentId } = request
      const sku = parseSku(request.sku)
      if (delta === 0 || Math.abs(delta) > maxQuantity)
        throw invalid('delta', `must be -${maxQuantity} to ${maxQuantity}, and not 0`)
      const problem = lengthProblem(adjustmentId, { min: 1, max: 200 })
      if (problem) throw invalid('adjustmentId', problem)
      return { level: toMessage(await store.adjust({ sku, delta, adjustmentId })) }
    },

    async setSupply(request) {
      const { source, quantity } = request
      const sku = parseSku(request.sku)
      // It becomes the name of a field.
      if (!/^[A-Za-z0-9][\w .:/-]{0,99}$/.test(source))
        throw invalid('source', 'must be 1 to 100 letters, digits, spaces and _.:/-, beginning with a letter or digit')
      if (quantity < 0 || quantity > maxQuantity) throw invalid('quantity', `must be 0 to ${maxQuantity}`)
      return { level: toMessage(await store.setSupply({ sku, source, quantity })) }
    },
  }
}

function parseSku(text: string, field = 'sku'): string {
  const sku = normaliseSku(text)
  const problem = skuProblem(sku)
  if (problem) throw invalid(field, problem)
  return sku
}

const toMessage = (stock: Stock): StockLevel => ({
  sku: stock.sku,
  onHand: stock.onHand,
  reserved: stock.reserved,
  sold: stock.sold,
  available: available(stock),
  version: stock.version,
})
