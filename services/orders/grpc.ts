import {
  OrderStatus,
  type Order as OrderMessage,
  type OrdersServiceService,
  type PlaceOrderRequest,
} from '#protos/shop/orders/v1/orders.ts'
import { invalid, invalidFields, notFound, rejected, type FieldError } from '#lib/errors.ts'
import type { Handlers } from '#lib/grpc-server.ts'
import { annotateSpan } from '#lib/telemetry.ts'
import { lengthProblem, normaliseSku, skuProblem } from '#lib/text.ts'
import type { CatalogClient } from './catalog-client.ts'
import { fingerprint, orderId, place, totalOf, type Order } from './order.ts'
import { pageSize, type OrderStore, type Position } from './order-store.ts'
import { paymentMethods } from './payment-methods.ts'
import type { UsersClient } from './users-client.ts'

const maxLines = 100
const maxQuantity = 1_000
const maxLimit = 100
const tokenRule = { min: 1, max: 255 }

/**
 * The RPCs of protos/shop/orders/v1/orders.proto, which lists their errors. Fields in errors have
 * their names in the REST API, where people read them.
 */
export function createOrdersHandlers(deps: {
  store: OrderStore
  users: UsersClient
  catalog: CatalogClient
  now: () => Date
}): Handlers<typeof OrdersServiceService> {
  const { store, users, catalog, now } = deps

  return {
    async placeOrder(request, { log }) {
      const { userId, idempotencyKey, paymentMethod, lines: requested } = parsePlacement(request)
      const requestFingerprint = fingerprint(requested, paymentMethod)
      const earlier = await store.get(userId, orderId(userId, idempotencyKey))
      if (earlier) return { order: toMessage(sameRequest(earlier, requestFingerprint)) }
      if (!paymentMethods.has(paymentMethod)) {
        throw rejected('unknown_payment_method', 'unknown payment method', [
          { field: 'payment.method', message: 'unknown payment method' },
        ])
      }
      const skus = requested.map((line) => line.sku)
      const [, prices] = await Promise.all([users.validate(userId), catalog.prices(skus)])
      const lines = priceLines(requested, prices)
      const sum = totalOf(lines)
      if (sum.outcome === 'rejected') {
        if (sum.reason === 'total_too_large') throw invalid('lines', 'must have a smaller total')
        throw rejected('mixed_currencies', 'all lines of an order must have prices in one currency')
      }
      const { total } = sum
      const order = await store.insert(place({ userId, idempotencyKey, lines, total, paymentMethod, now: now() }))
      // `npm run trace` finds an order's trace by it.
      annotateSpan({ 'order.id': order.orderId })
      log.info({ orderId: order.orderId, status: order.status }, 'order placed')
      return { order: toMessage(sameRequest(order, requestFingerprint)) }
    },

    async getOrder({ userId, orderId: id }) {
      const order = isUserId(userId) && isOrderId(id) ? await store.get(userId, id) : undefined
      if (!order) throw orderNotFound()
      return { order: toMessage(order) }
    },

    async listOrders({ userId, limit, cursor }) {
      if (!isUserId(userId)) throw invalid('userId', 'must be a user id')
      if (limit < 1 || limit > maxLimit) throw invalid('limit', `must be 1 to ${maxLimit}`)
      const page = await store.list(userId, limit, cursor === '' ? undefined : readCursor(cursor))
      if (!page) throw badCursor()
      return { orders: page.orders.map(toMessage), nextCursor: page.next ? writeCursor(page.next) : '' }
    },

    async cancelOrder({ userId, orderId: id }, { log }) {
      const decision =
        isUserId(userId) && isOrderId(id)
          ? await store.move(userId, id, { type: 'cancel', reason: 'cancelled_by_shopper' })
          : undefined
      if (!decision) throw orderNotFound()
      if (decision.outcome === 'rejected')
        throw rejected('order_confirmed', 'a confirmed order can no longer be cancelled')
      const { order, outcome } = decision
      log.info({ orderId: id, status: order.status, changed: outcome === 'changed' }, 'order cancelled')
      return { order: toMessage(order) }
    },
  }
}

/** Returns the requested lines with titles and prices. Throws `rejected` sku_not_found. */
function priceLines(
  lines: PlaceOrderRequest['lines'],
  prices: Awaited<ReturnType<CatalogClient['prices']>>,
): Order['lines'] {
  const unknown = lines.flatMap(({ sku }, i) =>
    prices.has(sku) ? [] : [{ field: `lines.${i}.sku`, message: 'unknown SKU' }],
  )
  if (unknown.length > 0)
    throw rejected('sku_not_found', unknown.length === 1 ? 'unknown SKU' : 'unknown SKUs', unknown)
  return lines.map(({ sku, quantity }) => {
    const { title, price } = prices.get(sku)!
    return { sku, quantity, title, unitPrice: price }
  })
}

function sameRequest(order: Order, requestFingerprint: string): Order {
  if (order.fingerprint === requestFingerprint) return order
  throw rejected('idempotency_key_reused', 'this Idempotency-Key was used for a different order', [
    { field: 'Idempotency-Key', message: 'was used for a different request' },
  ])
}

/**
 * Checks a request and returns it with its SKUs normalised. Throws `invalid` naming every wrong
 * field.
 */
function parsePlacement({ userId, idempotencyKey, paymentMethod, ...request }: PlaceOrderRequest): PlaceOrderRequest {
  const fields: FieldError[] = []
  const check = (field: string, problem: string | false | undefined) => {
    if (problem) fields.push({ field, message: problem })
  }
  check('userId', !isUserId(userId) && 'must be a user id')
  check('Idempotency-Key', lengthProblem(idempotencyKey, tokenRule))
  check('payment.method', lengthProblem(paymentMethod, tokenRule))
  const { length } = request.lines
  check('lines', (length < 1 || length > maxLines) && `must have 1 to ${maxLines} lines`)
  const seen = new Set<string>()
  // The first lines tell enough about a list that is far too long.
  const lines = request.lines.slice(0, maxLines).map(({ sku: text, quantity }, i) => {
    const sku = normaliseSku(text)
    check(`lines.${i}.sku`, skuProblem(sku) ?? (seen.has(sku) && 'must not be in another line too'))
    check(`lines.${i}.quantity`, (quantity < 1 || quantity > maxQuantity) && `must be 1 to ${maxQuantity}`)
    seen.add(sku)
    return { sku, quantity }
  })
  if (fields.length > 0) throw invalidFields(fields)
  return { userId, idempotencyKey, paymentMethod, lines }
}

// Both become part of keys.
const isUserId = (text: string) => /^[\w.-]{1,100}$/.test(text)
const isOrderId = (text: string) => /^o-[a-z2-7]{26}$/.test(text)
const orderNotFound = () => notFound('order_not_found', 'unknown order')
const badCursor = () => invalid('cursor', 'must be a cursor of this list', 'bad_cursor')

const writeCursor = ({ page, index }: Position) => Buffer.from(`${page}:${index}`).toString('base64url')

function readCursor(cursor: string): Position {
  const match = /^(\d{1,9}):(\d{1,2})$/.exec(Buffer.from(cursor, 'base64url').toString('latin1'))
  const position = match && { page: Number(match[1]), index: Number(match[2]) }
  // Only the exact form that was issued: decoding base64 is lenient.
  if (!position || position.index >= pageSize || writeCursor(position) !== cursor) throw badCursor()
  return position
}

const statusOf = {
  PENDING: OrderStatus.ORDER_STATUS_PENDING,
  RESERVED: OrderStatus.ORDER_STATUS_RESERVED,
  CONFIRMED: OrderStatus.ORDER_STATUS_CONFIRMED,
  CANCELLED: OrderStatus.ORDER_STATUS_CANCELLED,
} as const

const toMessage = ({
  orderId: id,
  userId,
  status,
  reason,
  lines,
  total,
  placedAt,
  updatedAt,
}: Order): OrderMessage => ({ id, userId, status: statusOf[status], reason, lines, total, placedAt, updatedAt })
