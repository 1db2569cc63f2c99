import { runComponent } from '../host/run.ts'
import { addStateServices } from '../host/state-service.ts'
import { createOutboxMetrics } from '../outbox/metrics.ts'
import { defineMysqlComponent } from './component.ts'

await runComponent({
  type: 'outbox-mysql',
  define: (registry) => defineMysqlComponent(createOutboxMetrics(registry)),
  addServices: addStateServices,
})
