import { consume } from '#lib/consumer.ts'
import { implement } from '#lib/grpc-server.ts'
import { runService } from '#lib/run-service.ts'
import { OrdersServiceService } from '#protos/shop/orders/v1/orders.ts'
import { createCatalogClient } from './catalog-client.ts'
import { createEventHandlers } from './events.ts'
import { createOrdersHandlers } from './grpc.ts'
import { createOrderStore } from './order-store.ts'
import { createUsersClient } from './users-client.ts'

await runService('orders', ({ dapr, log }) => {
  const now = () => new Date()
  const store = createOrderStore({ state: dapr.state('orders-store'), now })
  const users = createUsersClient({ dapr })
  const catalog = createCatalogClient({ dapr })
  return [
    implement(OrdersServiceService, createOrdersHandlers({ store, users, catalog, now })),
    consume(log, createEventHandlers({ store, log })),
  ]
})
