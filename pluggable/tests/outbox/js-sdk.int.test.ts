import { CommunicationProtocolEnum, DaprClient } from '@dapr/dapr'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { startStoreSidecar, type StoreSidecar } from '../../../platform/testing/store-sidecar.ts'

// The stores are for any Dapr app, so this drives them with Dapr's own JS SDK.

let sidecar: StoreSidecar
let client: DaprClient
beforeAll(async () => {
  sidecar = await startStoreSidecar({ appId: 'someone', store: 'someones-store' })
  client = new DaprClient({
    daprHost: '127.0.0.1',
    daprPort: String(sidecar.grpcPort),
    communicationProtocol: CommunicationProtocolEnum.GRPC,
    daprApiToken: sidecar.apiToken,
  })
})
afterAll(async () => {
  await client?.stop()
  await sidecar?.close()
})

it('saves, reads and deletes', async () => {
  await client.state.save('someones-store', [
    { key: 'a', value: { colour: 'rot' } },
    { key: 'b', value: 'grün' },
  ])
  expect(await client.state.get('someones-store', 'a')).toEqual({ colour: 'rot' })
  await client.state.delete('someones-store', 'a')
  expect(await client.state.get('someones-store', 'a')).toBeFalsy()
})

it('writes and deletes in one transaction', async () => {
  await client.state.save('someones-store', [{ key: 'old', value: 1 }])
  await client.state.transaction('someones-store', [
    { operation: 'upsert', request: { key: 'new', value: 'two' } },
    { operation: 'delete', request: { key: 'old' } },
  ])
  const found = await client.state.getBulk('someones-store', ['old', 'new'])
  expect(Object.fromEntries(found.map(({ key, data }) => [key, data || undefined]))).toEqual({
    old: undefined,
    new: 'two',
  })
})
