import { ulid } from 'ulid'
import { serveAdmin } from '#lib/admin-server.ts'
import { createDapr } from '#lib/dapr.ts'
import { implement, serveGrpc } from '#lib/grpc-server.ts'
import { runProcess } from '#lib/lifecycle.ts'
import { createLogger } from '#lib/logger.ts'
import { sidecarReady } from '#lib/sidecar-ready.ts'
import { startTelemetry } from '#lib/telemetry.ts'
import { UsersServiceService } from '#protos/shop/users/v1/users.ts'
import { readConfig } from './config.ts'
import { createUsersHandlers } from './grpc.ts'
import { createPasswords } from './password.ts'
import { createSessions } from './session-store.ts'
import { createSigningKeys } from './signing-key-store.ts'
import { createUserStore } from './user-store.ts'

const env = readConfig()
const log = await createLogger({ service: 'users', level: env.LOG_LEVEL, format: env.LOG_FORMAT })

await runProcess(log, async (onClose) => {
  onClose('telemetry', await startTelemetry('users', env.OTEL_EXPORTER_OTLP_ENDPOINT))
  const dapr = createDapr({ grpcPort: env.DAPR_GRPC_PORT, httpPort: env.DAPR_HTTP_PORT, apiToken: env.DAPR_API_TOKEN })
  onClose('sidecar connection', dapr.close)

  const state = dapr.state('users-store')
  const store = createUserStore(state)
  const keys = createSigningKeys({ state, encryptionKey: () => dapr.secret('jwt-encryption-key'), now: Date.now })
  const sessions = createSessions({ state, keys, findAccount: store.find, now: Date.now, newId: ulid })
  const handlers = createUsersHandlers({
    store,
    passwords: createPasswords(),
    sessions,
    keys,
    now: Date.now,
    newId: ulid,
  })

  onClose(
    'gRPC server',
    await serveGrpc({
      port: env.APP_PORT,
      appToken: env.APP_API_TOKEN,
      log,
      services: [implement(UsersServiceService, handlers)],
    }),
  )
  onClose('admin server', await serveAdmin(env.ADMIN_PORT, sidecarReady(env.DAPR_HTTP_PORT)))
})
