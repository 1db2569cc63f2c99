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
  passwordLength,
  userIdOf,
  type Account,
  type NewAccount,
  type Role,
} from './user.ts'

/** UsersService as protos/shop/users/v1/users.proto describes it, errors included. */
export function createUsersHandlers(o: {
  store: UserStore
  passwords: Passwords
  sessions: Sessions
  keys: SigningKeys
  now: () => number
  newId: () => string
}): Handlers<typeof UsersServiceService> {
  async function create(input: NewAccount, roles: Role[]): Promise<Account> {
    // Before the work of hashing; the store's own check is the one that counts.
    if (await o.store.emailTaken(input.email)) throw exists('email_taken', 'an account has this email')
    const account: Account = {
      id: userIdOf(input.email, o.newId()),
      email: input.email,
      name: input.name,
      passwordHash: await o.passwords.hash(input.password),
      roles,
      active: true,
      createdAt: new Date(o.now()).toISOString(),
    }
    await o.store.create(account)
    return account
  }

  return {
    async registerUser(request) {
      return { user: userOf(await create(parseNewAccount(request), ['shopper'])) }
    },

    async authenticateUser({ email, password }) {
      const address = normaliseEmail(email)
      const account = address === undefined ? undefined : await o.store.findByEmail(address)
      // Longer than any password, so never right, but not worth hashing in full.
      const given = normalisePassword(password.slice(0, 4 * passwordLength.max))
      const right = await o.passwords.verify(given, account?.passwordHash)
      if (!account?.active || !right) throw unauthenticated('bad_credentials', 'the email or the password is wrong')
      return { tokens: await o.sessions.start(account) }
    },

    async refreshTokens({ refreshToken }) {
      return { tokens: await o.sessions.refresh(refreshToken) }
    },

    async getUser({ userId }) {
      const account = await o.store.find(userId)
      if (!account) throw userNotFound()
      return { user: userOf(account) }
    },

    async validateUser({ userId }) {
      const account = await o.store.find(userId)
      if (!account) throw userNotFound()
      if (!account.active) throw rejected('user_deactivated', 'the account is deactivated')
      return {}
    },

    async deactivateUser({ userId }) {
      await o.store.update(
        userId,
        (account) => (account.active ? { ...account, active: false } : account),
        'users.user-deactivated.v1',
      )
      return {}
    },

    async setUserRoles(request, { callerAppId }) {
      // Beside the sidecar's access control: whoever gives roles is on this service's own host,
      // never another app.
      if (callerAppId !== '' && callerAppId !== 'users')
        throw new AppError('forbidden', 'operators_only', 'only operators set roles')
      const roles = parseRoles(request.roles)
      const email = normaliseEmail(request.email)
      const account = email === undefined ? undefined : await o.store.findByEmail(email)
      if (!account) {
        if (request.password === '') throw userNotFound()
        return { user: userOf(await create(parseNewAccount(request), roles)) }
      }
      const same = (a: Account) => a.roles.length === roles.length && roles.every((role) => a.roles.includes(role))
      return { user: userOf(await o.store.update(account.id, (a) => (same(a) ? a : { ...a, roles }))) }
    },

    async getJwks() {
      return { jwksJson: JSON.stringify(await o.keys.jwks()) }
    },
  }
}

const userOf = ({ id, email, name, roles, active, createdAt }: Account): User => ({
  id,
  email,
  name,
  roles,
  active,
  createdAt,
})
