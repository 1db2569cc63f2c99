import { createDapr } from '#lib/dapr.ts'
import { InventoryServiceService } from '#protos/shop/inventory/v1/inventory.ts'
import type { Shop } from '../platform/start/shop.ts'
import { closedLoop, type Rate } from './load.ts'

export const bareCallers = 32

/** Calls inventory through the gateway's sidecar and its own; for no SKU it does nothing. */
export async function bareCalls(shop: Shop, ms: number): Promise<Rate> {
  const { gateway } = shop.ports.services
  const dapr = createDapr({
    grpcPort: gateway.daprGrpc,
    httpPort: gateway.daprHttp,
    apiToken: shop.secrets.services.gateway.daprToken,
  })
  const inventory = dapr.client(InventoryServiceService, 'inventory')
  try {
    return await closedLoop(bareCallers, ms, () => inventory.getAvailability({ skus: [] }))
  } finally {
    dapr.close()
  }
}
