import { expect, it } from 'vitest'
import { countsPerOrder, hopsOf, sumCounts } from './sidecar-counts.ts'

it('counts calls of services, sidecars and components, and what an order costs of them', () => {
  const rpc = (side: string, method: string) =>
    `dapr_grpc_io_${side}_completed_rpcs{app_id="orders",grpc_${side}_method="${method}",grpc_${side}_status="OK"}`
  const sidecar = (n: number) =>
    [
      '# TYPE dapr_grpc_io_server_completed_rpcs counter',
      `${rpc('server', '/shop.users.v1.UsersService/ValidateUser')} ${10 * n}`,
      `${rpc('server', '/dapr.proto.runtime.v1.Dapr/GetState')} ${20 * n}`,
      `${rpc('server', '/dapr.proto.runtime.v1.Dapr/ExecuteStateTransaction')} ${10 * n}`,
      `${rpc('client', '/dapr.proto.runtime.v1.AppCallback/OnBulkTopicEvent')} ${5 * n}`,
    ].join('\n')
  const component = (n: number) =>
    [
      `component_call_duration_seconds_bucket{le="1",component="orders-store",rpc="Get",code="OK"} ${99 * n}`,
      `component_call_duration_seconds_count{component="orders-store",rpc="Get",code="OK"} ${20 * n}`,
      `component_call_duration_seconds_count{component="orders-store",rpc="Transact",code="OK"} ${10 * n}`,
      `outbox_relayed_total{component="orders-store"} ${30 * n}`,
    ].join('\n')
  const before = sumCounts([sidecar(1), component(1)])
  const after = sumCounts([sidecar(2), component(2)])
  const found = countsPerOrder(before, after, 10)
  expect(found).toEqual({
    serviceCalls: 1,
    sidecarCalls: 3,
    deliveries: 0.5,
    componentCalls: 3,
    transactions: 1,
    delivered: 0,
    deliveryMs: 0,
    events: 3,
  })
  expect(hopsOf(found)).toBe(9.5)
})
