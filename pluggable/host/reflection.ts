import { fileURLToPath } from 'node:url'
import type { Server } from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import { ReflectionService } from '@grpc/reflection'

/**
 * Tells daprd, which asks at its start, which kinds of component are behind the socket. `services`
 * are full proto names.
 */
export function addReflection(server: Server, file: 'state.proto' | 'bindings.proto', services: string[]): void {
  const protos = fileURLToPath(new URL('../../protos', import.meta.url))
  const definition = loadSync(`dapr/proto/components/v1/${file}`, { includeDirs: [protos] })
  new ReflectionService(definition, { services }).addToServer(server)
}
