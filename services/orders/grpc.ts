import {
  OrdersServiceService,
  OrderStatus,
  type Order as OrderMessage,
  type PlaceOrderRequest,
} from '#protos/shop/orders/v1/orders.ts'
import { AppError, invalid, notFound, rejected, type FieldError } from '#lib/errors.ts'
import { implement } from '#lib/grpc-server.ts'
import type { CatalogClient } from './catalog-client.ts'
import { fingerprint, orderId, place, totalOf, type Order } from './order.ts'
import { pageSize, type OrderStore, type Position } from './order-store.ts'
import { paymentMethods } from './payment-methods.ts'
import type { UsersClient } from './users-client.ts'

const maxLines = 100
const maxQuantity = 1_000
const maxLimit = 100

/**
 * The RPCs of shop.orders.v1. Names of fields in errors are those of the REST API, which is where
 * people read them.
 */
export function createOrdersService(o: {
  store: OrderStore
  users: UsersClient
  catalog: CatalogClient
  now: () => string
}) {
  const { store, users, catalog, now } = o

  return implement(OrdersServiceService, {
    async placeOrder(request, { log }) {
      checkPlace(request)
      const { userId, idempotencyKey, paymentMethod } = request
      const asked = fingerprint(request.lines, paymentMethod)
      const earlier = await store.get(userId, orderId(userId, idempotencyKey))
      if (earlier) return { order: toMessage(sameRequest(earlier, asked)) }
      if (!paymentMethods.has(paymentMethod)) {
        throw rejected('unknown_payment_method', 'the payment provider does not know this method', [
          { field: 'payment.method', message: 'unknown payment method' },
        ])
      }
      const [, prices] = await Promise.all([users.validate(userId), catalog.prices(request.lines.map((l) => l.sku))])
      const unknown = request.lines.flatMap(({ sku }, i) =>
        prices.has(sku) ? [] : [{ field: `lines.${i}.sku`, message: 'there is no such SKU' }],
      )
      if (unknown.length > 0)
        throw rejected(
          'sku_not_found',
          unknown.length === 1 ? 'a line names a SKU that is not there' : 'lines name SKUs that are not there',
          unknown,
        )
      const lines = request.lines.map(({ sku, quantity }) => {
        const { title, price } = prices.get(sku)!
        return { sku, quantity, title, unitPrice: price }
      })
      const total = totalOf(lines)
      if (total === 'mixed_currencies')
        throw rejected('mixed_currencies', 'all lines of an order have prices in one currency')
      if (total === 'too_large') throw invalid('lines', 'the total is too large')
      const order = await store.insert(place({ userId, idempotencyKey, lines, total, paymentMethod, now: now() }))
      log.info({ orderId: order.orderId, status: order.status }, 'order placed')
      return { order: toMessage(sameRequest(order, asked)) }
    },

    async getOrder({ userId, orderId: id }) {
      const order = isUserId(userId) && isOrderId(id) ? await store.get(userId, id) : undefined
      if (!order) throw orderNotFound()
      return { order: toMessage(order) }
    },

    async listOrders({ userId, limit, cursor }) {
      if (!isUserId(userId)) throw invalid('userId', 'is not a user id')
      if (limit < 1 || limit > maxLimit) throw invalid('limit', `1 to ${maxLimit}`)
      const page = await store.list(userId, limit, cursor === '' ? undefined : readCursor(cursor))
      if (page === 'bad_position') throw badCursor()
      return { orders: page.orders.map(toMessage), nextCursor: page.next ? writeCursor(page.next) : '' }
    },

    async cancelOrder({ userId, orderId: id }, { log }) {
      const decided =
        isUserId(userId) && isOrderId(id)
          ? await store.move(userId, id, { type: 'cancel', reason: 'cancelled_by_shopper' }, now)
          : undefined
      if (!decided) throw orderNotFound()
      if ('rejection' in decided)
        throw rejected('order_confirmed', 'the order is confirmed: it is too late to cancel it')
      log.info({ orderId: id, status: decided.order.status, changed: decided.events.length > 0 }, 'order cancelled')
      return { order: toMessage(decided.order) }
    },
  })
}

function sameRequest(order: Order, asked: string): Order {
  if (order.fingerprint === asked) return order
  throw rejected('idempotency_key_reused', 'this Idempotency-Key was used for another order', [
    { field: 'Idempotency-Key', message: 'was used for another request' },
  ])
}

function checkPlace({ userId, idempotencyKey, lines, paymentMethod }: PlaceOrderRequest) {
  const fields: FieldError[] = []
  const check = (field: string, fine: boolean, message: string) => {
    if (!fine) fields.push({ field, message })
  }
  check('userId', isUserId(userId), 'is not a user id')
  check('Idempotency-Key', idempotencyKey.length >= 1 && idempotencyKey.length <= 255, '1 to 255 characters')
  check('payment.method', paymentMethod.length >= 1 && paymentMethod.length <= 255, '1 to 255 characters')
  check('lines', lines.length >= 1 && lines.length <= maxLines, `1 to ${maxLines} lines`)
  const seen = new Set<string>()
  // The first lines tell enough about a list that is far too long.
  lines.slice(0, maxLines).forEach(({ sku, quantity }, i) => {
    check(`lines.${i}.sku`, sku.length >= 1 && sku.length <= 100, '1 to 100 characters')
    check(`lines.${i}.sku`, !seen.has(sku), 'stands in another line already')
    check(`lines.${i}.quantity`, quantity >= 1 && quantity <= maxQuantity, `1 to ${maxQuantity}`)
    seen.add(sku)
  })
  if (fields.length > 0)
    throw new AppError('invalid', 'invalid_field', `${fields[0]!.field}: ${fields[0]!.message}`, { fields })
}

// Both become part of keys.
const isUserId = (text: string) => /^[\w.-]{1,100}$/.test(text)
const isOrderId = (text: string) => /^o-[a-z2-7]{26}$/.test(text)
const orderNotFound = () => notFound('order_not_found', 'there is no such order')
const badCursor = () => invalid('cursor', 'is not a cursor of this list', 'bad_cursor')

const writeCursor = ({ page, index }: Position) => Buffer.from(`${page}:${index}`).toString('base64url')

function readCursor(cursor: string): Position {
  const match = /^(\d{1,9}):(\d{1,2})$/.exec(Buffer.from(cursor, 'base64url').toString('latin1'))
  const position = match && { page: Number(match[1]), index: Number(match[2]) }
  // Only the form that was given out: base64 decoding overlooks much.
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
