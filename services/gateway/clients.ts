import type { Dapr, RpcClient } from '#lib/dapr.ts'
import { CatalogServiceService } from '#protos/shop/catalog/v1/catalog.ts'
import { InventoryServiceService } from '#protos/shop/inventory/v1/inventory.ts'
import { OrdersServiceService } from '#protos/shop/orders/v1/orders.ts'
import { PaymentsServiceService } from '#protos/shop/payments/v1/payments.ts'
import { SearchServiceService } from '#protos/shop/search/v1/search.ts'
import { UsersServiceService } from '#protos/shop/users/v1/users.ts'

export type Clients = {
  users: RpcClient<typeof UsersServiceService>
  catalog: RpcClient<typeof CatalogServiceService>
  inventory: RpcClient<typeof InventoryServiceService>
  orders: RpcClient<typeof OrdersServiceService>
  payments: RpcClient<typeof PaymentsServiceService>
  search: RpcClient<typeof SearchServiceService>
}

/** Creates a client for each service behind the API; calls go through this sidecar and theirs. */
export const createClients = (dapr: Dapr): Clients => ({
  users: dapr.client(UsersServiceService, 'users'),
  catalog: dapr.client(CatalogServiceService, 'catalog'),
  inventory: dapr.client(InventoryServiceService, 'inventory'),
  orders: dapr.client(OrdersServiceService, 'orders'),
  payments: dapr.client(PaymentsServiceService, 'payments'),
  search: dapr.client(SearchServiceService, 'search'),
})
