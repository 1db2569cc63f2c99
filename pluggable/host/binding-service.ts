import type { Server, UntypedServiceImplementation } from '@grpc/grpc-js'
import { OutputBindingService, type OutputBindingServer } from '#protos/dapr/proto/components/v1/bindings.ts'
import { ComponentError } from './errors.ts'
import type { Closable, Components } from './components.ts'
import { addReflection } from './reflection.ts'
import type { Unary } from './unary.ts'

/** A Dapr output binding as the host serves it. `invoke` throws ComponentError. */
export type OutputBinding = Closable & {
  invoke(operation: string, data: Buffer): Promise<{ data: Buffer; metadata: Record<string, string> }>
}

/**
 * Returns a function that adds the service of an output binding to the server and announces it to
 * daprd by reflection. daprd passes only `operations` through.
 */
export function addBindingService(operations: readonly string[]) {
  return (server: Server, components: Components<OutputBinding>, unary: Unary): void => {
    const service: OutputBindingServer = {
      init: unary('Init', async (request, component) => {
        await components.init(component, request.metadata?.properties ?? {})
        return {}
      }),
      listOperations: unary('ListOperations', async () => ({ operations: [...operations] })),
      ping: unary('Ping', async () => ({})),
      invoke: unary('Invoke', async (request, component) => {
        if (!operations.includes(request.operation))
          throw new ComponentError('INVALID_REQUEST', `operation: must be one of ${operations.join(', ')}`)
        const { buffer, byteOffset, byteLength } = request.data
        const binding = await components.get(component)
        const result = await binding.invoke(request.operation, Buffer.from(buffer, byteOffset, byteLength))
        return { ...result, contentType: 'application/json' }
      }),
    }
    server.addService(OutputBindingService, service as unknown as UntypedServiceImplementation)
    addReflection(server, 'bindings.proto', ['dapr.proto.components.v1.OutputBinding'])
  }
}
