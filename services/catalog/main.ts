import { consume } from '#lib/consumer.ts'
import { implement } from '#lib/grpc-server.ts'
import { runService } from '#lib/run-service.ts'
import { CatalogServiceService } from '#protos/shop/catalog/v1/catalog.ts'
import { createAvailabilityStore } from './availability-store.ts'
import { createCategoryStore } from './category-store.ts'
import { createEventHandlers } from './events.ts'
import { createCatalogHandlers } from './grpc.ts'
import { createProductStore } from './product-store.ts'

await runService('catalog', ({ dapr, log }) => {
  const state = dapr.state('catalog-store')
  const products = createProductStore({ state, binding: dapr.binding, now: () => new Date() })
  const availability = createAvailabilityStore({ state })
  const categories = createCategoryStore({ binding: dapr.binding })
  return [
    implement(CatalogServiceService, createCatalogHandlers({ products, availability, categories })),
    consume(log, createEventHandlers({ availability })),
  ]
})
