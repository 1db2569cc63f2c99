import { parseEnv } from '#lib/config.ts'
import { consume } from '#lib/consumer.ts'
import { implement } from '#lib/grpc-server.ts'
import { createKeyRanges } from '#lib/key-ranges.ts'
import { runService } from '#lib/run-service.ts'
import { PaymentsServiceService } from '#protos/shop/payments/v1/payments.ts'
import { settings } from './config.ts'
import { createEventHandlers } from './events.ts'
import { createPaymentsHandlers } from './grpc.ts'
import { createPaymentStore } from './payment-store.ts'
import { createProviderClient, performMs } from './provider-client.ts'
import { startWorkers } from './workers.ts'

await runService('payments', ({ dapr, log, onClose }) => {
  const config = parseEnv(settings)
  const timing = { leaseMs: config.PAYMENT_LEASE_S * 1_000, settleMs: config.PAYMENT_SEARCH_LAG_S * 1_000 + performMs }
  const ranges = createKeyRanges({ dapr, binding: 'payments-ranges', appId: 'payments' })
  const store = createPaymentStore({ state: dapr.state('payments-store'), now: Date.now, timing })
  const provider = createProviderClient({ dapr })
  const workers = startWorkers({
    store,
    ranges,
    provider,
    log,
    workers: config.PAYMENT_WORKERS,
    pollMs: config.PAYMENT_POLL_MS,
  })
  onClose('workers', workers.stop)
  return [
    implement(PaymentsServiceService, createPaymentsHandlers({ store, workers })),
    consume({ name: 'payments', log, batches: store.batches }, createEventHandlers({ store, workers })),
  ]
})
