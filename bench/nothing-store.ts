// A state store that keeps nothing and answers at once: what a sidecar and gRPC take of a
// transaction, whatever the store is like.
import type { StateStore } from '../pluggable/host/state-store.ts'
import { runComponent } from '../pluggable/host/run.ts'
import { addStateServices } from '../pluggable/host/state-service.ts'

const store: StateStore = {
  features: ['ETAG', 'TRANSACTIONAL', 'TTL'],
  get: async () => undefined,
  bulkGet: async () => new Map(),
  set: async () => {},
  delete: async () => {},
  transact: async () => {},
  close: async () => {},
}

await runComponent({
  type: 'nothing',
  define: () => ({ parse: () => ({}), open: async () => store }),
  addServices: addStateServices,
})
