import { consume } from '#lib/consumer.ts'
import { implement } from '#lib/grpc-server.ts'
import { runService } from '#lib/run-service.ts'
import { InventoryServiceService } from '#protos/shop/inventory/v1/inventory.ts'
import { createEventHandlers } from './events.ts'
import { createInventoryHandlers } from './grpc.ts'
import { createStockStore } from './stock-store.ts'

await runService('inventory', ({ dapr, log }) => {
  const store = createStockStore({ state: dapr.state('inventory-store') })
  return [
    implement(InventoryServiceService, createInventoryHandlers({ store })),
    consume({ name: 'inventory', log, batches: store.batches }, createEventHandlers({ store })),
  ]
})
