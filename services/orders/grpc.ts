import {
  OrderPaymentStatus,
  OrderStatus,
  type Order as OrderMessage,
  type OrdersServiceService,
  type PlaceOrderRequest,
} from '#protos/shop/orders/v1/orders.ts'
import { invalid, invalidFields, notFound, rejected, type FieldError } from '#lib/errors.ts'
import type { Handlers } from '#lib/grpc-server.ts'
import { annotateSpan } from '#lib/telemetry.ts'
import { lengthProblem, normaliseSku, skuProblem } from '#lib/text.ts'
import type { Busy } from './busy.ts'
import type { CatalogClient, Prices } from './catalog-client.ts'
import { fingerprint, orderId, place, totalOf, type Money, type Order, type Timeouts } from './order.ts'
import { orderKey, type OrderStore, type Position } from './order-store.ts'
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
  busy: Busy
  timeouts: Timeouts
  now: () => Date
}): Handlers<typeof OrdersServiceService> {
  const { store, users, catalog, busy, timeouts, now } = deps

  /** Prices a request. Throws why it cannot become an order. */
  async function price(request: PlaceOrderRequest): Promise<{ lines: Order['lines']; total: Money }> {
    if (!paymentMethods.has(request.paymentMethod)) {
      throw rejected('unknown_payment_method', 'unknown payment method', [
        { field: 'payment.method', message: 'unknown payment method' },
      ])
    }
    await busy.requireRoom()
    const skus = request.lines.map((line) => line.sku)
    const [, prices] = await Promise.all([users.validate(request.userId), catalog.prices(skus)])
    const lines = priceLines(request.lines, prices)
    const sum = totalOf(lines)
    if (sum.outcome === 'rejected') {
      if (sum.reason === 'total_too_large') throw invalid('lines', 'must have a smaller total')
      throw rejected('mixed_currencies', 'all lines of an order must have prices in one currency')
    }
    requireTotal(request.expectedTotal, sum.total, lines)
    return { lines, total: sum.total }
  }

  return {
    async placeOrder(message, { log }) {
      const request = parsePlacement(message)
      const { userId, idempotencyKey, paymentMethod } = request
      const requestFingerprint = fingerprint(request.lines, paymentMethod, request.expectedTotal)
      const id = orderId(userId, idempotencyKey)
      const priced = await price(request).catch(async (error: unknown) => {
        // A repeat gets its order, whatever has changed since. First orders do not pay for that
        // with a read: the store notices a repeat by itself.
        const earlier = await store.get(userId, id)
        if (!earlier) throw error
        return earlier
      })
      const placed =
        'orderId' in priced
          ? undefined
          : place({
              userId,
              idempotencyKey,
              paymentMethod,
              ...priced,
              expectedTotal: request.expectedTotal,
              now: now(),
              timeouts,
            })
      const order = placed ? await store.insert(placed) : (priced as Order)
      const replayed = order !== placed?.order
      // `npm run trace` finds an order's trace by it.
      annotateSpan({ 'order.id': id })
      if (!replayed) log.info({ orderId: id, status: order.status }, 'order placed')
      return { order: toMessage(sameRequest(order, requestFingerprint)), replayed }
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
      return { orders: page.orders.map(toMessage), nextCursor: page.next ? writeCursor(page.next) : '' }
    },

    async cancelOrder({ userId, orderId: id }, { log }) {
      const decision =
        isUserId(userId) && isOrderId(id)
          ? await store.batches.commit({
              keys: [orderKey(userId, id)],
              decide: (draft) => store.move(draft, userId, id, { type: 'cancel', reason: 'cancelled_by_shopper' }),
            })
          : undefined
      if (!decision) throw orderNotFound()
      if (decision.outcome === 'rejected')
        throw rejected('order_confirmed', 'a confirmed order can no longer be cancelled')
      const { order, outcome } = decision
      log.info({ orderId: id, status: order.status, changed: outcome === 'changed' }, 'order cancelled')
      return {
        order: toMessage(order),
        replayed: outcome !== 'changed' && order.reason === 'cancelled_by_shopper',
      }
    },
  }
}

/** Returns the requested lines with titles and prices. Throws `rejected` sku_not_found. */
function priceLines(lines: PlaceOrderRequest['lines'], prices: Prices): Order['lines'] {
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

/**
 * Throws `rejected` price_changed, with the current prices, if the total is not the expected one.
 */
function requireTotal(expected: Money | undefined, total: Money, lines: Order['lines']): void {
  if (!expected || (expected.amount === total.amount && expected.currency === total.currency)) return
  const text = ({ amount, currency }: Money) => `is now ${amount} ${currency} (minor units)`
  throw rejected('price_changed', `the total ${text(total)}`, [
    { field: 'expectedTotal', message: text(total) },
    ...lines.map(({ unitPrice }, i) => ({ field: `lines.${i}.unitPrice`, message: text(unitPrice) })),
  ])
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
function parsePlacement(request: PlaceOrderRequest): PlaceOrderRequest {
  const { userId, idempotencyKey, paymentMethod } = request
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
  return { ...request, lines }
}

// Both become part of keys.
const isUserId = (text: string) => /^[\w.-]{1,100}$/.test(text)
const isOrderId = (text: string) => /^o-[a-z2-7]{26}$/.test(text)
const orderNotFound = () => notFound('order_not_found', 'unknown order')
const badCursor = () => invalid('cursor', 'must be a cursor of this list', 'bad_cursor')

const writeCursor = (position: Position) => Buffer.from(position).toString('base64url')

function readCursor(cursor: string): Position {
  const position = Buffer.from(cursor, 'base64url').toString('latin1')
  // Only the exact form that was issued: decoding base64 is lenient.
  if (!/^\d{4}-\d\d-\d\dT[\d:.]{12}Z:o-[a-z2-7]{26}$/.test(position) || writeCursor(position) !== cursor)
    throw badCursor()
  return position
}

const statusOf = {
  PENDING: OrderStatus.ORDER_STATUS_PENDING,
  RESERVED: OrderStatus.ORDER_STATUS_RESERVED,
  CONFIRMED: OrderStatus.ORDER_STATUS_CONFIRMED,
  CANCELLED: OrderStatus.ORDER_STATUS_CANCELLED,
} as const

const paymentStatusOf = {
  none: OrderPaymentStatus.ORDER_PAYMENT_STATUS_NONE,
  requested: OrderPaymentStatus.ORDER_PAYMENT_STATUS_REQUESTED,
  captured: OrderPaymentStatus.ORDER_PAYMENT_STATUS_CAPTURED,
  declined: OrderPaymentStatus.ORDER_PAYMENT_STATUS_DECLINED,
  partially_refunded: OrderPaymentStatus.ORDER_PAYMENT_STATUS_PARTIALLY_REFUNDED,
  refunded: OrderPaymentStatus.ORDER_PAYMENT_STATUS_REFUNDED,
} as const

function toMessage(order: Order): OrderMessage {
  const { orderId: id, userId, status, reason, lines, total, placedAt, updatedAt, history, payment } = order
  return {
    id,
    userId,
    status: statusOf[status],
    reason,
    lines,
    total,
    placedAt,
    updatedAt,
    history: history.map((change) => ({ status: statusOf[change.status], at: change.at })),
    payment: {
      status: paymentStatusOf[payment.status],
      refunded: { amount: payment.refunded, currency: total.currency },
    },
  }
}
