// A second replica of a service beside its first, for tests of what several replicas do to each
// other. It is the same program, with its own sidecar, components and ports.
import { join } from 'node:path'
import type { Context } from './context.ts'
import { replicaPorts } from './ports.ts'
import type { Process } from './process.ts'
import { describeService } from './service-processes.ts'
import type { ServiceName } from './services.ts'

/** What the second replica's processes, and its folder of sockets, are named after. */
export const replicaName = (service: ServiceName): string => `${service}-2`

export function describeReplica(context: Context, service: ServiceName): Process[] {
  const { ports, paths } = context
  const services = { ...ports.services, [service]: replicaPorts(ports.services[service]) }
  const first = describeService({ ...context, ports: { ...ports, services } }, service)
  const own = new Set(first.map(({ name }) => name))
  const rename = (name: string) => (own.has(name) ? `${replicaName(service)}${name.slice(service.length)}` : name)
  return first.map((process) => ({
    ...process,
    name: rename(process.name),
    env: {
      ...process.env,
      ...('DAPR_COMPONENTS_SOCKETS_FOLDER' in process.env && {
        DAPR_COMPONENTS_SOCKETS_FOLDER: join(paths.sockets, replicaName(service)),
      }),
    },
    waitsFor: {
      ...process.waitsFor,
      ...(process.waitsFor.healthy && { healthy: process.waitsFor.healthy.map(rename) }),
    },
    stopsBefore: process.stopsBefore.map(rename),
  }))
}
