import { parseEnv } from '#lib/config.ts'
import { implement } from '#lib/grpc-server.ts'
import { runService } from '#lib/run-service.ts'
import { CatalogServiceService } from '#protos/shop/catalog/v1/catalog.ts'
import { SearchServiceService } from '#protos/shop/search/v1/search.ts'
import { createCatalogClient } from './catalog-client.ts'
import { settings } from './config.ts'
import { consumeProducts } from './events.ts'
import { createSearchHandlers } from './grpc.ts'
import { createIndexClient } from './index-client.ts'
import { createIndexWriter } from './index-writer.ts'
import { createRebuilds } from './rebuild.ts'

await runService('search', ({ dapr, log, onClose }) => {
  const index = createIndexClient({ dapr, searched: parseEnv(settings).SEARCH_INDEX, log })
  const catalog = createCatalogClient(dapr.client(CatalogServiceService, 'catalog'))
  const rebuilds = createRebuilds({ index, catalog, log })
  onClose('rebuilds', rebuilds.close)
  return [
    implement(SearchServiceService, createSearchHandlers({ index, rebuilds })),
    consumeProducts({ writer: createIndexWriter({ index }), log }),
  ]
})
