// A state store that keeps nothing and responds at once. It shows what the sidecar and gRPC cost,
// whatever the store.
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
