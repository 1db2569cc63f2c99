import * as z from 'zod'
import { notFound } from '#lib/errors.ts'
import type { CallOptions } from '#lib/dapr.ts'
import type { StockLevel } from '#protos/shop/inventory/v1/inventory.ts'
import type { Clients } from '../clients.ts'
import { actorOf, isAdmin, operation, type User } from '../http/operation.ts'
import { sku, text, wholeNumber } from '../http/schemas.ts'

const maxQuantity = 1_000_000_000

const level = z
  .object({
    sku: z.string().meta({ examples: ['clay-plant-pot-large'] }),
    onHand: z.int().meta({ description: 'Units supplied so far, minus units removed.', examples: [10] }),
    reserved: z.int().meta({ description: 'Units held for orders that are not confirmed yet.', examples: [1] }),
    sold: z.int().meta({ description: 'Units of confirmed orders.', examples: [2] }),
    available: z.int().meta({ description: 'onHand - reserved - sold', examples: [7] }),
    version: z.int().meta({ description: 'Increases by one with each change.', examples: [4] }),
  })
  .meta({ id: 'StockLevel' })

const toLevel = (message: StockLevel | undefined): z.infer<typeof level> => {
  const { sku, onHand, reserved, sold, available, version } = message!
  return { sku, onHand, reserved, sold, available, version }
}

const params = z.object({ sku })

export const stock = ({ catalog, inventory }: Clients) => {
  /** Throws `forbidden` not_owner: sellers see and set what is in stock of their own products. */
  const checkOwner = async (user: User, sku: string, call: CallOptions) => {
    if (!isAdmin(user)) await catalog.checkSkuOwner({ skus: [sku], ...actorOf(user) }, call)
  }
  return [
    operation({
      id: 'getStock',
      method: 'get',
      path: '/v1/stock/{sku}',
      tag: 'Stock',
      access: 'staff',
      summary: 'The stock level of a SKU',
      params,
      responses: { 200: { description: 'The stock level', schema: level } },
      problems: ['not_owner', 'stock_not_found'],
      async handle({ params, user, call }) {
        await checkOwner(user, params.sku, call)
        const { levels } = await inventory.getAvailability({ skus: [params.sku] }, call)
        if (!levels[0]) throw notFound('stock_not_found', 'No stock record for this SKU')
        return { status: 200, body: toLevel(levels[0]) }
      },
    }),
    operation({
      id: 'putStock',
      method: 'put',
      path: '/v1/stock/{sku}',
      tag: 'Stock',
      access: 'staff',
      summary: 'Set how many units a source has supplied in total',
      description:
        'Idempotent. A different quantity changes the stock on hand by the difference; reserved and sold units stay.',
      params,
      body: z
        .strictObject({
          source: text(1, 100).meta({ description: 'An import or a warehouse, for example.', examples: ['import'] }),
          quantity: wholeNumber(0, maxQuantity).meta({ examples: [10] }),
        })
        .meta({ id: 'Supply' }),
      responses: { 200: { description: 'The stock level', schema: level } },
      problems: ['not_owner', 'insufficient_stock'],
      async handle({ params, body, user, call }) {
        await checkOwner(user, params.sku, call)
        const { level } = await inventory.setSupply({ sku: params.sku, ...body }, call)
        return { status: 200, body: toLevel(level) }
      },
    }),
    operation({
      id: 'adjustStock',
      method: 'post',
      path: '/v1/stock/{sku}/adjustments',
      tag: 'Stock',
      access: 'staff',
      summary: 'Add units to the stock on hand or remove them',
      params,
      body: z
        .strictObject({
          id: text(1, 200).meta({
            description: 'Chosen by the caller; the same id counts once.',
            examples: ['delivery-2026-03-01-7'],
          }),
          delta: wholeNumber(-maxQuantity, maxQuantity)
            .refine((n) => n !== 0, 'must not be 0')
            .meta({ examples: [5] }),
        })
        .meta({ id: 'Adjustment' }),
      responses: { 200: { description: 'The stock level', schema: level } },
      problems: ['not_owner', 'insufficient_stock', 'adjustment_id_reused'],
      async handle({ params, body: { id, delta }, user, call }) {
        await checkOwner(user, params.sku, call)
        const { level } = await inventory.adjustStock({ sku: params.sku, delta, adjustmentId: id }, call)
        return { status: 200, body: toLevel(level) }
      },
    }),
  ]
}
