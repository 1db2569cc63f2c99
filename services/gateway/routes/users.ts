import * as z from 'zod'
import type { Clients } from '../clients.ts'
import { idempotencyKey } from '../http/idempotency.ts'
import { operation } from '../http/operation.ts'
import { characters, text, time } from '../http/schemas.ts'

const password = characters(8, 256).meta({ format: 'password', examples: ['correct horse battery staple'] })
// The users service validates addresses fully.
export const email = characters(3, 254)
  .regex(/^[^@\s]+@[^@\s]+$/, 'must be an email address')
  .meta({ format: 'email', examples: ['ada@example.com'] })

const account = z
  .object({
    id: z.string().meta({ examples: ['u-0a3-01k9z0j8tq4v7n0c8y5b3m2r1d'] }),
    email: z.string().meta({ examples: ['ada@example.com'] }),
    name: z.string().meta({ examples: ['Ada'] }),
  })
  .meta({ id: 'Account' })

const me = account
  .extend({
    roles: z.array(z.string()).meta({ description: 'shopper, seller, admin', examples: [['shopper']] }),
    createdAt: time,
  })
  .meta({ id: 'Me' })

export const users = ({ users }: Clients) => [
  operation({
    id: 'registerUser',
    method: 'post',
    path: '/v1/users',
    tag: 'Accounts',
    access: 'public',
    limit: 'registration',
    summary: 'Register',
    description:
      'Creates an account with the role "shopper". ' +
      'Registrations from one address are limited, unless a seller or admin sends a token. With an ' +
      'Idempotency-Key, a request whose response was lost can be repeated: it returns the account.',
    headers: z.object({
      'Idempotency-Key': idempotencyKey('Identifies this registration of the email.').optional(),
    }),
    body: z
      .strictObject({ email, password, name: text(1, 200).meta({ examples: ['Ada'] }) })
      .meta({ id: 'Registration' }),
    responses: {
      201: {
        description: 'The account',
        schema: account,
        headers: { Location: 'The path of the account, once logged in' },
      },
    },
    problems: ['email_taken', 'too_many_logins'],
    async handle({ headers, body, call }) {
      const request = { ...body, idempotencyKey: headers['Idempotency-Key'] ?? '' }
      const { user, replayed } = await users.registerUser(request, call)
      return {
        status: 201,
        replayed,
        headers: { Location: '/v1/users/me', 'Cache-Control': 'no-store' },
        body: { id: user!.id, email: user!.email, name: user!.name } satisfies z.infer<typeof account>,
      }
    },
  }),
  operation({
    id: 'getMe',
    method: 'get',
    path: '/v1/users/me',
    tag: 'Accounts',
    access: 'user',
    summary: 'Your own account',
    responses: { 200: { description: 'The account', schema: me } },
    problems: ['user_not_found'],
    async handle({ user, call }) {
      const { user: found } = await users.getUser({ userId: user.id }, call)
      const { id, email, name, roles, createdAt } = found!
      return { status: 200, body: { id, email, name, roles, createdAt } satisfies z.infer<typeof me> }
    },
  }),
  operation({
    id: 'changePassword',
    method: 'put',
    path: '/v1/users/me/password',
    tag: 'Accounts',
    access: 'user',
    limit: 'logIn',
    summary: 'Change your password',
    description: 'Ends all your other sessions.',
    body: z
      .strictObject({
        currentPassword: characters(1, 256).meta({ format: 'password', examples: ['correct horse battery staple'] }),
        newPassword: password,
      })
      .meta({ id: 'PasswordChange' }),
    responses: { 204: { description: 'Changed' } },
    problems: ['wrong_password', 'too_many_guesses', 'too_many_logins', 'user_not_found'],
    async handle({ user, body, client, call }) {
      await users.changePassword({ userId: user.id, sessionId: user.sessionId, ...body, client }, call)
      return { status: 204, body: undefined }
    },
  }),
  operation({
    id: 'requestPasswordReset',
    method: 'post',
    path: '/v1/password-resets',
    tag: 'Accounts',
    access: 'public',
    limit: 'logIn',
    summary: 'Ask for a new password',
    description:
      'Sends a mail with a token to the address, if there is an account; the response is the same if there is none. ' +
      'The token works once, for an hour.',
    body: z.strictObject({ email }).meta({ id: 'PasswordResetRequest' }),
    responses: { 202: { description: 'A mail is on its way, if there is an account' } },
    problems: ['too_many_resets'],
    async handle({ body, call }) {
      await users.requestPasswordReset(body, call)
      return { status: 202, body: undefined }
    },
  }),
  operation({
    id: 'resetPassword',
    method: 'post',
    path: '/v1/password-resets:redeem',
    tag: 'Accounts',
    access: 'public',
    limit: 'logIn',
    summary: 'Set a new password by the token of a mail',
    description: 'Ends all sessions of the account, and makes all its other tokens worthless.',
    body: z
      .strictObject({
        token: characters(1, 100).meta({
          examples: ['0a3.dGhpcyBpcyBhIHRva2VuIQ.c2lnbmVkIGJ5IHVzZXJzLCBnb29kIGZvciBhbiBob3Vy'],
        }),
        newPassword: password,
      })
      .meta({ id: 'PasswordReset' }),
    responses: { 204: { description: 'Changed' } },
    problems: ['bad_reset_token', 'too_many_logins'],
    async handle({ body, call }) {
      await users.resetPassword(body, call)
      return { status: 204, body: undefined }
    },
  }),
]
