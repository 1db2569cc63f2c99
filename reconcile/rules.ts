// What must agree once a shop is quiet, and what does not. No I/O.
import type { Charge, Order, Payment, Reservation, ShopState } from './shop-state.ts'

/** Each kind of disagreement, with what it says about the shop. */
export const kinds = {
  charged_twice: 'a shopper was charged more than once for an order',
  charge_differs: 'what was charged is not what the order cost',
  charge_unknown: 'the provider charged, and payments does not know',
  charge_missing: 'payments knows of a charge that the provider did not make',
  confirmed_unpaid: 'an order is CONFIRMED without a payment',
  cancelled_unrefunded: 'an order is CANCELLED and its money was not given back',
  refund_differs: 'payments and the provider, or the order, differ in what was refunded',
  event_lost: 'a service has not heard of what another one did',
  order_stuck: 'an order waits longer than its deadline',
  deadline_unwatched: 'an order waits, and nothing will move it on when its time has run out',
  payment_unwatched: 'there is something to do for a payment, and no worker will find it',
  order_unlisted: "an order is not in its shopper's list",
  reservation_unreleased: 'stock is held for an order that is CANCELLED',
  reservation_unsold: 'stock is held for an order that is CONFIRMED, or differs from its lines',
  reservation_unknown: 'stock is held for an order that does not exist',
  payment_unknown: 'there is a payment for an order that does not exist',
  oversold: 'more was sold and reserved than was on hand',
  stock_miscounted: "a SKU's counts are not the sum of its reservations and supplies",
  availability_stale: 'shoppers see another availability than there is',
  unpublished: 'events were committed and never published',
  unreadable: 'a service has stored what makes no sense',
} as const
export type Kind = keyof typeof kinds

/** `what` names the order or SKU, so a finding can be found again in a later read. */
export type Finding = { kind: Kind; what: string; detail: string }

/**
 * Compares everything. In a shop at work some differences are on their way to be settled: read
 * again and keep those that stay.
 * @param state what was read
 * @param now for deadlines
 */
export function reconcile(state: ShopState, now: Date): Finding[] {
  const orders = new Map(state.orders.map((order) => [order.orderId, order]))
  const reservations = new Map(state.reservations.map((one) => [one.orderId, one]))
  const payments = new Map(state.payments.map((one) => [one.orderId, one]))
  const charges = Map.groupBy(state.charges, ({ metadata }) => metadata.order_id)
  const due = (service: string) =>
    new Set(state.due.filter((row) => row.service === service).map(({ key }) => idOf(key)))
  const [dueOrders, duePayments, listed] = [due('orders'), due('payments'), new Set(state.listed.map(idOf))]
  return [
    ...state.orders.flatMap((order) => {
      const { orderId } = order
      const known = { reservation: reservations.get(orderId), payment: payments.get(orderId) }
      const made = charges.get(orderId) ?? []
      return [
        ...progress(order, known, now),
        ...deadline(order, dueOrders.has(orderId)),
        ...(listed.has(orderId) ? [] : [finding('order_unlisted', orderId, `placed at ${order.placedAt}`)]),
        ...stockOf(order, known.reservation),
        ...moneyOf(order, known.payment, made),
      ]
    }),
    ...state.payments.flatMap((payment) => ledger(payment, charges.get(payment.orderId) ?? [])),
    ...state.payments
      .filter((payment) => hasWork(payment) && !duePayments.has(payment.orderId))
      .map(({ orderId, status }) => finding('payment_unwatched', orderId, `its payment is ${status}`)),
    ...[...charges].flatMap(([orderId, made]) => unknownCharges(orderId, made, payments.get(orderId))),
    ...state.reservations
      .filter(({ orderId, status }) => !orders.has(orderId) && status !== 'cancelled-before-reservation')
      .map(({ orderId, status }) => finding('reservation_unknown', orderId, `its reservation is ${status}`)),
    ...state.payments
      .filter(({ orderId }) => !orders.has(orderId))
      .map(({ orderId, status }) => finding('payment_unknown', orderId, `its payment is ${status}`)),
    ...counts(state),
    ...Object.entries(state.unpublished)
      .filter(([, count]) => count > 0)
      .map(([service, count]) => finding('unpublished', service, `${count} rows are in its outbox`)),
    ...state.unreadable.map(({ key, reason }) => finding('unreadable', key, reason)),
  ]
}

const finding = (kind: Kind, what: string, detail: string): Finding => ({ kind, what, detail })

/** The last part of a row's key that only points at something is its id. */
const idOf = (key: string) => key.slice(key.lastIndexOf(':') + 1)

const hasWork = ({ status, refunds = [] }: Payment) =>
  status === 'PENDING' || refunds.some((refund) => refund.status === 'PENDING')

type Known = { reservation: Reservation | undefined; payment: Payment | undefined }

/** A step that was answered, and the answer was not heard. */
function progress({ orderId, status, deadline }: Order, { reservation, payment }: Known, now: Date): Finding[] {
  const lost = (detail: string) => finding('event_lost', orderId, `it is ${status}, and ${detail}`)
  const stuck =
    deadline !== undefined && Date.parse(deadline) < now.getTime()
      ? [finding('order_stuck', orderId, `it is ${status} since before ${deadline}`)]
      : []
  switch (status) {
    case 'PENDING':
      if (reservation === undefined) return [lost('inventory does not know of it'), ...stuck]
      return [lost(`its reservation is ${reservation.status}`), ...stuck]
    case 'RESERVED':
      if (payment === undefined) return [lost('payments does not know of it'), ...stuck]
      return payment.status === 'PENDING' ? stuck : [lost(`its payment is ${payment.status}`), ...stuck]
    case 'CONFIRMED':
    case 'CANCELLED':
      return []
  }
}

function deadline({ orderId, status, deadline }: Order, isWatched: boolean): Finding[] {
  if ((status !== 'PENDING' && status !== 'RESERVED') || isWatched) return []
  return [finding('deadline_unwatched', orderId, `it is ${status} until ${deadline ?? 'no time at all'}`)]
}

function stockOf({ orderId, status, lines }: Order, reservation: Reservation | undefined): Finding[] {
  switch (status) {
    case 'CONFIRMED':
      if (reservation?.status !== 'sold')
        return [finding('reservation_unsold', orderId, `its reservation is ${reservation?.status ?? 'missing'}`)]
      return sameLines(lines, reservation.lines)
        ? []
        : [
            finding(
              'reservation_unsold',
              orderId,
              `${describe(lines)} were ordered, ${describe(reservation.lines)} sold`,
            ),
          ]
    case 'CANCELLED':
      if (reservation === undefined)
        return [finding('event_lost', orderId, 'it is CANCELLED, and inventory does not know of it')]
      return reservation.status === 'reserved' || reservation.status === 'sold'
        ? [finding('reservation_unreleased', orderId, `its reservation is ${reservation.status}`)]
        : []
    case 'PENDING':
    case 'RESERVED':
      return []
  }
}

const describe = (lines: Order['lines']) =>
  lines
    .map(({ sku, quantity }) => `${quantity} × ${sku}`)
    .toSorted()
    .join(', ')
const sameLines = (a: Order['lines'], b: Order['lines']) => describe(a) === describe(b)

function moneyOf(order: Order, payment: Payment | undefined, made: Charge[]): Finding[] {
  const { orderId, status, total } = order
  const found: Finding[] = []
  const price = describeMoney(total.amount, total.currency)
  if (made.length > 1)
    found.push(finding('charged_twice', orderId, `${made.map(({ id }) => id).join(', ')} charged ${price} each`))
  for (const { id, amount, currency } of made) {
    if (amount !== total.amount || currency.toUpperCase() !== total.currency.toUpperCase())
      found.push(finding('charge_differs', orderId, `${id} charged ${describeMoney(amount, currency)}, not ${price}`))
  }
  const captured = sum(made.map(({ amount }) => amount))
  const refunded = sum(made.map(({ amount_refunded }) => amount_refunded))
  switch (status) {
    case 'CONFIRMED':
      if (payment?.status !== 'CAPTURED' && payment?.status !== 'REFUNDED')
        found.push(finding('confirmed_unpaid', orderId, `its payment is ${payment?.status ?? 'missing'}`))
      if (captured < total.amount)
        found.push(finding('confirmed_unpaid', orderId, `the provider charged ${captured} of ${price}`))
      if (order.payment !== undefined && order.payment.refunded !== refunded)
        found.push(
          finding('refund_differs', orderId, `the order says ${order.payment.refunded}, the provider ${refunded}`),
        )
      break
    case 'CANCELLED':
      if (captured !== refunded)
        found.push(finding('cancelled_unrefunded', orderId, `charged ${captured}, refunded ${refunded}`))
      if (payment?.status === 'PENDING')
        found.push(finding('event_lost', orderId, 'it is CANCELLED, and its payment still PENDING'))
      break
    case 'PENDING':
    case 'RESERVED':
  }
  return found
}

const describeMoney = (amount: number, currency: string) => `${amount} ${currency.toUpperCase()}`
const sum = (values: number[]) => values.reduce((total, value) => total + value, 0)

/** A payment beside the provider's charges. */
function ledger({ orderId, status, charge, providerId, refunds }: Payment, made: Charge[]): Finding[] {
  if (status !== 'CAPTURED' && status !== 'REFUNDED') return []
  const amount = charge?.amount.amount ?? 0
  const own = made.find(({ id }) => id === providerId)
  // Nothing is charged for nothing.
  if (own === undefined)
    return amount === 0
      ? []
      : [finding('charge_missing', orderId, `the provider has no charge ${providerId || 'of it'}`)]
  const known =
    refunds === undefined
      ? status === 'REFUNDED'
        ? amount
        : 0
      : sum(refunds.filter((one) => one.status === 'DONE' && one.strayCharge === undefined).map((one) => one.amount))
  const pending = refunds?.some((one) => one.status !== 'DONE') ? ', and a refund is pending' : ''
  return known === own.amount_refunded && pending === ''
    ? []
    : [
        finding(
          'refund_differs',
          orderId,
          `payments knows of ${known} refunded, the provider of ${own.amount_refunded}${pending}`,
        ),
      ]
}

function unknownCharges(orderId: string, made: Charge[], payment: Payment | undefined): Finding[] {
  const isCaptured = payment?.status === 'CAPTURED' || payment?.status === 'REFUNDED'
  return made
    .filter(({ id }) => !isCaptured || payment.providerId !== id)
    .map(({ id }) =>
      finding('charge_unknown', orderId, `the provider made ${id}, its payment is ${payment?.status ?? 'missing'}`),
    )
}

/** Each SKU beside the sums of what its counts came from. */
function counts({ stock, reservations, adjustments, available }: ShopState): Finding[] {
  const held = { reserved: new Map<string, number>(), sold: new Map<string, number>() }
  const add = (to: Map<string, number>, sku: string, quantity: number) => to.set(sku, (to.get(sku) ?? 0) + quantity)
  for (const { status, lines } of reservations) {
    if (status !== 'reserved' && status !== 'sold') continue
    for (const { sku, quantity } of lines) add(held[status], sku, quantity)
  }
  const adjusted = new Map<string, number>()
  for (const { sku, delta } of adjustments) add(adjusted, sku, delta)
  const known = new Set(stock.map(({ sku }) => sku))
  return [
    ...stock.flatMap(({ sku, onHand, reserved, sold, supplies, told = { available: 0 } }) => {
      const left = onHand - reserved - sold
      const supplied = sum(Object.values(supplies)) + (adjusted.get(sku) ?? 0)
      const miscounted = (name: string, count: number, expected: number) =>
        count === expected ? [] : [finding('stock_miscounted', sku, `${name} is ${count}, and should be ${expected}`)]
      const seen = available.get(sku) ?? 0
      return [
        ...(left < 0 ? [finding('oversold', sku, `${onHand} on hand, ${reserved} reserved, ${sold} sold`)] : []),
        ...miscounted('reserved', reserved, held.reserved.get(sku) ?? 0),
        ...miscounted('sold', sold, held.sold.get(sku) ?? 0),
        ...miscounted('on hand', onHand, supplied),
        ...(seen === told.available && isNear(seen, Math.max(0, left))
          ? []
          : [
              finding(
                'availability_stale',
                sku,
                `shoppers see ${seen} of ${told.available} told, and there are ${left}`,
              ),
            ]),
      ]
    }),
    ...[...held.reserved.keys(), ...held.sold.keys()]
      .filter((sku) => !known.has(sku))
      .map((sku) => finding('stock_miscounted', sku, 'it is reserved or sold, and has no stock')),
  ]
}

/** What docs/catalogue.md promises of the units that shoppers see: exact up to 20, else to 5 %. */
const isNear = (seen: number, left: number) =>
  seen === left || (Math.min(seen, left) > 20 && Math.abs(seen - left) <= seen / 20)
