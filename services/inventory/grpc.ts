import type { InventoryServiceService, StockLevel } from '#protos/shop/inventory/v1/inventory.ts'
import { invalid } from '#lib/errors.ts'
import type { Handlers } from '#lib/grpc-server.ts'
import { lengthProblem, normaliseSku, skuProblem } from '#lib/text.ts'
import { available, type Stock } from './stock.ts'
import type { StockStore } from './stock-store.ts'

const maxSkus = 200
const maxQuantity = 1_000_000_000
const maxGroups = 1_000
const maxGroupSize = 100
const maxSupplies = 10_000

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
      checkSource(source)
      checkQuantity(quantity)
      return { level: toMessage(await store.setSupply({ sku, source, quantity })) }
    },

    async bulkSetSupply({ source, groups }) {
      checkSource(source)
      if (groups.length > maxGroups) throw invalid('groups', `must have at most ${maxGroups} groups`)
      if (groups.reduce((sum, { supplies }) => sum + supplies.length, 0) > maxSupplies)
        throw invalid('groups', `must have at most ${maxSupplies} SKUs together`)
      const seen = new Set<string>()
      const parsed = groups.map(({ supplies }, g) => {
        const field = `groups.${g}.supplies`
        if (supplies.length < 1 || supplies.length > maxGroupSize)
          throw invalid(field, `must have 1 to ${maxGroupSize} SKUs`)
        return supplies.map(({ sku: text, quantity }, i) => {
          const sku = parseSku(text, `${field}.${i}.sku`)
          if (seen.has(sku)) throw invalid(`${field}.${i}.sku`, 'must not be repeated')
          seen.add(sku)
          checkQuantity(quantity, `${field}.${i}.quantity`)
          return { sku, quantity }
        })
      })
      const results = await store.setSupplies(source, parsed)
      return { results: results.map((error) => ({ code: error?.code ?? '', message: error?.message ?? '' })) }
    },
  }
}

function checkSource(source: string): void {
  // It becomes the name of a field.
  if (!/^[A-Za-z0-9][\w .:/-]{0,99}$/.test(source))
    throw invalid('source', 'must be 1 to 100 letters, digits, spaces and _.:/-, beginning with a letter or digit')
}

function checkQuantity(quantity: number, field = 'quantity'): void {
  if (quantity < 0 || quantity > maxQuantity) throw invalid(field, `must be 0 to ${maxQuantity}`)
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
