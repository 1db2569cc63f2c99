import { consume } from '#lib/consumer.ts'
import { implement } from '#lib/grpc-server.ts'
import { runService } from '#lib/run-service.ts'
import { PaymentsServiceService } from '#protos/shop/payments/v1/payments.ts'
import { createEventHandlers } from './events.ts'
import { createPaymentsHandlers } from './grpc.ts'
import { createPayments } from './payments.ts'
import { createPaymentStore } from './payment-store.ts'
import { createProviderClient } from './provider-client.ts'

await runService('payments', ({ dapr, log }) => {
  const store = createPaymentStore({ state: dapr.state('payments-store') })
  const provider = createProviderClient({ dapr, log })
  const payments = createPayments({ store, provider })
  return [
    implement(PaymentsServiceService, createPaymentsHandlers({ store, payments })),
    consume(log, createEventHandlers({ payments, log })),
  ]
})
