import { createServer, type AddressInfo } from 'node:net'
import { once } from 'node:events'
import { pino } from 'pino'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { UsersServiceService } from '#protos/shop/users/v1/users.ts'
import { createDapr } from './dapr.ts'
import { AppError, notFound } from './errors.ts'
import { implement, serveGrpc, type Handlers } from './grpc-server.ts'

// Client and server talk directly, without sidecars: the client takes the server for its sidecar.
const token = 'app-token'
const log = pino({ level: 'silent' })
const closers: (() => unknown)[] = []
let port: number

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

beforeAll(async () => {
  port = await freePort()
  const handlers = {
    validateUser: async ({ userId }) => {
      if (userId === 'nobody') throw notFound('user_not_found', 'unknown user')
      if (userId === 'bug') throw new TypeError('a secret detail')
      if (userId === 'slow') await new Promise((resolve) => setTimeout(resolve, 1_000).unref())
      return {}
    },
  } as Pick<Handlers<typeof UsersServiceService>, 'validateUser'> as Handlers<typeof UsersServiceService>
  closers.push(await serveGrpc({ port, appToken: token, log, services: [implement(UsersServiceService, handlers)] }))
})
afterAll(async () => {
  for (const close of closers) await close()
})

function users(apiToken: string, at = port) {
  const dapr = createDapr({ grpcPort: at, httpPort: at, apiToken })
  closers.unshift(dapr.close)
  return dapr.client(UsersServiceService, 'users')
}

it("a handler's error arrives with its code", async () => {
  await expect(users(token).validateUser({ userId: 'nobody' })).rejects.toMatchObject({
    kind: 'not_found',
    code: 'user_not_found',
  })
})
it('an unexpected error arrives without its text', async () => {
  const error = await users(token)
    .validateUser({ userId: 'bug' })
    .catch((e: AppError) => e)
  expect(error).toMatchObject({ kind: 'internal', message: 'internal error' })
})
it('a call without the app token is refused', async () => {
  await expect(users('other').validateUser({ userId: 'u-1' })).rejects.toMatchObject({ kind: 'unauthenticated' })
})
it('a call that takes too long ends as unavailable', async () => {
  await expect(users(token).validateUser({ userId: 'slow' }, { timeoutMs: 50 })).rejects.toMatchObject({
    code: 'users_unavailable',
  })
})
it('a call to a sidecar that is down fails as unavailable at once', async () => {
  const started = performance.now()
  await expect(users(token, await freePort()).validateUser({ userId: 'u-1' })).rejects.toMatchObject({
    kind: 'unavailable',
  })
  expect(performance.now() - started).toBeLessThan(1_500)
})
