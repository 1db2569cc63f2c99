import { runComponent } from '../host/run.ts'
import { addStateServices } from '../host/state-service.ts'
import { createOutboxMetrics } from '../outbox/metrics.ts'
import { defineMongodbComponent } from './component.ts'

await runComponent({
  type: 'outbox-mongodb',
  define: (registry) => defineMongodbComponent(createOutboxMetrics(registry)),
  addServices: addStateServices,
})
