import { ulid } from 'ulid'
import * as z from 'zod'
import { parseEnv } from '#lib/config.ts'
import { implement } from '#lib/grpc-server.ts'
import { runService } from '#lib/run-service.ts'
import { UsersServiceService } from '#protos/shop/users/v1/users.ts'
import { consumeResetRequests } from './events.ts'
import { createUsersHandlers } from './grpc.ts'
import { createGuessLimits } from './guesses.ts'
import { createMailer } from './mailer.ts'
import { createPasswordResets } from './password-resets.ts'
import { createPasswords } from './password.ts'
import { createSessions } from './session-store.ts'
import { createSigningKeys } from './signing-key-store.ts'
import { createUserStore } from './user-store.ts'

const config = parseEnv({
  /** Encrypts the private keys that sign access tokens. */
  JWT_ENCRYPTION_KEY: z
    .string()
    .transform((text) => Buffer.from(text, 'base64'))
    .refine(({ length }) => length === 32, 'must be 32 bytes in base64'),
  /** The sender of mails. */
  MAIL_FROM: z.string().min(1).default('Sidecart <shop@example.com>'),
  /** The page of the shop's website that takes a token and a new password. */
  PASSWORD_RESET_URL: z.url().default('http://localhost:3000/reset-password'),
})
const encryptionKey = config.JWT_ENCRYPTION_KEY

await runService('users', ({ dapr, log }) => {
  const now = () => new Date()
  const state = dapr.state('users-store')
  const store = createUserStore({ state })
  const keys = createSigningKeys({ state, encryptionKey, now })
  const sessions = createSessions({ state, keys, findAccount: store.find, now, newId: ulid, log })
  const resets = createPasswordResets({ state, findByEmail: store.findByEmail, encryptionKey, now })
  const mailer = createMailer({ dapr, from: config.MAIL_FROM })
  const guesses = createGuessLimits({ state, now })
  const deps = { store, sessions, keys, passwords: createPasswords(), guesses, resets }
  return [
    implement(UsersServiceService, createUsersHandlers({ ...deps, now, newId: ulid })),
    consumeResetRequests({ resets, mailer, page: config.PASSWORD_RESET_URL, log }),
  ]
})
