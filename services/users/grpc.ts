import { AppError, exists, invalid, rejected, unauthenticated } from '#lib/errors.ts'
import type { Handlers } from '#lib/grpc-server.ts'
import { hashName } from '#lib/hash-name.ts'
import { textProblem } from '#lib/text.ts'
import type { User, UsersServiceService } from '#protos/shop/users/v1/users.ts'
import type { GuessLimits } from './guesses.ts'
import { badResetToken, type PasswordResets } from './password-resets.ts'
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
  guesses: GuessLimits
  keys: SigningKeys
  resets: PasswordResets
  now: () => Date
  newId: () => string
}): Handlers<typeof UsersServiceService> {
  const { store, passwords, sessions, guesses, keys, resets, now, newId } = deps

  async function create(input: NewAccount, roles: Role[], registrationKey?: string): Promise<Account> {
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
      ...(registrationKey === undefined ? {} : { registrationKey }),
    }
    await store.create(account)
    return account
  }

  /**
   * Returns the account that an earlier request with this key registered, undefined if another one
   * has the email. Throws `idempotency_key_reused` if that request was a different one.
   */
  async function registeredBefore(input: NewAccount, registrationKey: string): Promise<Account | undefined> {
    const account = await store.findByEmail(input.email)
    if (account?.registrationKey !== registrationKey) return undefined
    // No fingerprint of the request is stored: it would be a fast hash of the password.
    if (account.name === input.name && (await passwords.verify(input.password, account.passwordHash))) return account
    throw rejected('idempotency_key_reused', 'this Idempotency-Key was used for a different registration', [
      { field: 'Idempotency-Key', message: 'was used for a different request' },
    ])
  }

  /** Whether that is the account's password; without an account it does the same work. */
  function isPassword(text: string, account: Account | undefined, client: string): Promise<boolean> {
    // A longer text matches no password and is not worth hashing in full.
    const given = normalisePassword(text.slice(0, 4 * passwordRule.max))
    return passwords.verify(given, account?.passwordHash, client)
  }

  async function findByEmail(text: string): Promise<Account | undefined> {
    const email = normaliseEmail(text)
    return email === undefined ? undefined : store.findByEmail(email)
  }

  return {
    async registerUser(request) {
      const input = parseNewAccount(request)
      const key = request.idempotencyKey
      if (key.length > 255) throw invalid('Idempotency-Key', 'must have at most 255 characters')
      if (key === '') return { user: toMessage(await create(input, ['shopper'])), replayed: false }
      const registrationKey = hashName(key, 26)
      try {
        return { user: toMessage(await create(input, ['shopper'], registrationKey)), replayed: false }
      } catch (error) {
        const isTaken = error instanceof AppError && error.code === 'email_taken'
        const earlier = isTaken ? await registeredBefore(input, registrationKey) : undefined
        if (!earlier) throw error
        return { user: toMessage(earlier), replayed: true }
      }
    },

    async authenticateUser({ email: text, password, client }) {
      const email = normaliseEmail(text) ?? text.slice(0, 1_000)
      let account: Account | undefined
      const isRight = await guesses.attempt(email, client, async () => {
        account = await findByEmail(email)
        return (await isPassword(password, account, client)) && account?.active === true
      })
      if (!account || !isRight) throw unauthenticated('bad_credentials', 'wrong email or password')
      return { tokens: await sessions.start(account) }
    },

    async refreshTokens({ refreshToken }) {
      return { tokens: await sessions.refresh(refreshToken) }
    },

    async listSessions({ userId }) {
      return { sessions: await sessions.list(userId) }
    },

    async checkSession({ userId, sessionId }) {
      return { roles: (await sessions.check(userId, sessionId)).roles }
    },

    async endSession({ userId, sessionId }) {
      await sessions.end(userId, sessionId)
      return {}
    },

    async endSessions({ userId, exceptSessionId }) {
      await sessions.endAll(userId, exceptSessionId)
      return {}
    },

    async changePassword({ userId, currentPassword, newPassword, sessionId, client }) {
      const account = await store.find(userId)
      if (!account) throw userNotFound()
      const password = parseNewPassword(newPassword)
      if (!(await guesses.attempt(account.email, client, () => isPassword(currentPassword, account, client))))
        throw rejected('wrong_password', 'that is not the current password', [
          { field: 'currentPassword', message: 'is not the current password' },
        ])
      const passwordHash = await passwords.hash(password)
      await store.update(userId, (current) => ({ ...current, passwordHash }))
      await sessions.endAll(userId, sessionId)
      return {}
    },

    async requestPasswordReset({ email: text }) {
      const email = normaliseEmail(text)
      if (email === undefined) throw invalid('email', 'must be an email address')
      await resets.request(email)
      return {}
    },

    async resetPassword({ token, newPassword }) {
      const password = parseNewPassword(newPassword)
      const account = await resets.redeem(token)
      const passwordHash = await passwords.hash(password)
      await store.update(account.id, (current) => {
        // Another request may have used the token by now.
        if (current.passwordHash !== account.passwordHash) throw badResetToken()
        return { ...current, passwordHash }
      })
      await sessions.endAll(account.id, '')
      return {}
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

/** Checks and normalises a new password. Throws `invalid` naming `newPassword`. */
function parseNewPassword(text: string): string {
  const password = normalisePassword(text)
  const problem = textProblem(password, passwordRule)
  if (problem) throw invalid('newPassword', problem)
  return password
}

const toMessage = ({ id, email, name, roles, active, createdAt }: Account): User => ({
  id,
  email,
  name,
  roles,
  active,
  createdAt,
})
