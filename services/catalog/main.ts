import { createBatches } from '#lib/batches.ts'
import { consume } from '#lib/consumer.ts'
import { implement } from '#lib/grpc-server.ts'
import { runService } from '#lib/run-service.ts'
import { CatalogServiceService } from '#protos/shop/catalog/v1/catalog.ts'
import { createCategoryCounts } from './category-counts.ts'
import { createCategoryEventHandlers, startMoves } from './category-moves.ts'
import { createCategoryStore } from './category-store.ts'
import { createEventHandlers } from './events.ts'
import { createCatalogHandlers } from './grpc.ts'
import { createProductCache } from './product-cache.ts'
import { createProductStore } from './product-store.ts'

// What another replica changes is seen here half a second later at most, and behind the edge, which
// keeps a page for a second, within two.
const cacheLimits = { maxBytes: 64 * 1024 * 1024, maxAgeMs: 500 }

// Nobody waits for stock levels: those that come soon after others are written and published
// together. What a round costs, from the store to the search index, hardly depends on its size.
const eventRounds = { roundMs: 300, busyWorks: 2 }

await runService('catalog', ({ dapr, log, onClose }) => {
  const state = dapr.state('catalog-store')
  const batches = createBatches(state)
  const products = createProductStore({
    state,
    batches,
    binding: dapr.binding,
    cache: createProductCache(cacheLimits),
    now: () => new Date(),
  })
  const categories = createCategoryStore({ dapr, now: Date.now })
  const counts = createCategoryCounts({ binding: dapr.binding, log, now: Date.now })
  onClose('category moves', startMoves({ state, batches, categories, products, log, now: Date.now }))
  return [
    implement(CatalogServiceService, createCatalogHandlers({ products, categories, counts })),
    consume(
      { name: 'catalog', log, batches: createBatches(state, eventRounds) },
      {
        ...createEventHandlers({ products }),
        ...createCategoryEventHandlers({ now: Date.now }),
      },
    ),
  ]
})
