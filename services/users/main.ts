import { ulid } from 'ulid'
import * as z from 'zod'
import { parseEnv } from '#lib/config.ts'
import { implement } from '#lib/grpc-server.ts'
import { runService } from '#lib/run-service.ts'
import { UsersServiceService } from '#protos/shop/users/v1/users.ts'
import { createUsersHandlers } from './grpc.ts'
import { createGuessLimits } from './guesses.ts'
import { createPasswords } from './password.ts'
import { createSessions } from './session-store.ts'
import { createSigningKeys } from './signing-key-store.ts'
import { createUserStore } from './user-store.ts'

const { JWT_ENCRYPTION_KEY: encryptionKey } = parseEnv({
  /** Encrypts the private keys that sign access tokens. */
  JWT_ENCRYPTION_KEY: z
    .string()
    .transform((text) => Buffer.from(text, 'base64'))
    .refine(({ length }) => length === 32, 'must be 32 bytes in base64'),
})

await runService('users', ({ dapr, log }) => {
  const now = () => new Date()
  const state = dapr.state('users-store')
  const store = createUserStore({ state })
  const keys = createSigningKeys({ state, encryptionKey, now })
  const sessions = createSessions({ state, keys, findAccount: store.find, now, newId: ulid, log })
  const deps = { store, sessions, keys, passwords: createPasswords(), guesses: createGuessLimits({ state, now }) }
  return [implement(UsersServiceService, createUsersHandlers({ ...deps, now, newId: ulid }))]
})
