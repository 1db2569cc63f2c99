import { AppError, exists, rejected, unauthenticated } from '#lib/errors.ts'
import type { Handlers } from '#lib/grpc-server.ts'
import type { User, UsersServiceService } from '#protos/shop/users/v1/users.ts'
import type { Passwords } from './password.ts'
import type { Sessions } from './session-store.ts'
import type { SigningKeys } from './signing-key-store.ts'
import { userNotFound, type UserStore } from './user-store.ts'
import {
  normaliseEmail,
  normalisePassword,
  parseNewAccount,
  parseRoles,
  passwordRule,
  userIdOf,
  type Account,
  type NewAccount,
  type Role,
} from './user.ts'

/** The RPCs of protos/shop/users/v1/users.proto, which lists their errors. */
export function createUsersHandlers(deps: {
  store: UserStore
  passwords: Passwords
  sessions: Sessions
  keys: SigningKeys
  now: () => Date
  newId: () => string
}): Handlers<typeof UsersServiceService> {
  const { store, passwords, sessions, keys, now, newId } = deps

  async function create(input: NewAccount, roles: Role[]): Promise<Account> {
    // Spares the work of hashing; the store's own check is the one that counts.
    if (await store.emailTaken(input.email)) throw exists('email_taken', 'an account has this email')
    const account: Account = {
      id: userIdOf(input.email, newId()),
      email: input.email,
      name: input.name,
      passwordHash: await passwords.hash(input.password),
      roles,
      active: true,
      createdAt: now().toISOString(),
    }
    await store.create(account)
    return account
  }

  async function findByEmail(text: string): Promise<Account | undefined> {
    const email = normaliseEmail(text)
    return email === undefined ? undefined : store.findByEmail(email)
  }

  return {
    async registerUser(request) {
      return { user: toMessage(await create(parseNewAccount(request), ['shopper'])) }
    },

    async authenticateUser({ email, password }) {
      const account = await findByEmail(email)
      // A longer text matches no password and is not worth hashing in full.
      const given = normalisePassword(password.slice(0, 4 * passwordRule.max))
      const matches = await passwords.verify(given, account?.passwordHash)
      if (!account?.active || !matches) throw unauthenticated('bad_credentials', 'wrong email or password')
      return { tokens: await sessions.start(account) }
    },

    async refreshTokens({ refreshToken }) {
      return { tokens: await sessions.refresh(refreshToken) }
    },

    async getUser({ userId }) {
      const account = await store.find(userId)
      if (!account) throw userNotFound()
      return { user: toMessage(account) }
    },

    async validateUser({ userId }) {
      const account = await store.find(userId)
      if (!account) throw userNotFound()
      if (!account.active) throw rejected('user_deactivated', 'the account is deactivated')
      return {}
    },

    async deactivateUser({ userId }) {
      await store.update(
        userId,
        (account) => (account.active ? { ...account, active: false } : account),
        'users.user-deactivated.v1',
      )
      return {}
    },

    async setUserRoles(request, { callerAppId }) {
      // In addition to the sidecar's access control: only an operator on this service's own host
      // sets roles, never another app.
      if (callerAppId !== '' && callerAppId !== 'users')
        throw new AppError('forbidden', 'operators_only', 'only operators set roles')
      const roles = parseRoles(request.roles)
      const account = await findByEmail(request.email)
      if (!account) {
        if (request.password === '') throw userNotFound()
        return { user: toMessage(await create(parseNewAccount(request), roles)) }
      }
      const hasRoles = (a: Account) => a.roles.length === roles.length && roles.every((role) => a.roles.includes(role))
      return { user: toMessage(await store.update(account.id, (a) => (hasRoles(a) ? a : { ...a, roles }))) }
    },

    async getJwks() {
      return { jwksJson: JSON.stringify(await keys.jwks()) }
    },
  }
}

const toMessage = ({ id, email, name, roles, active, createdAt }: Account): User => ({
  id,
  email,
  name,
  roles,
  active,
  createdAt,
})
