import * as z from 'zod'
import type { Tokens } from '#protos/shop/users/v1/users.ts'
import type { Clients } from '../clients.ts'
import { operation, type Answer } from '../http/operation.ts'
import { characters } from '../http/schemas.ts'
import { email } from './users.ts'

const session = z
  .object({
    accessToken: z.string().meta({
      description: 'A JWT for the header Authorization: Bearer.',
      examples: ['eyJhbGciOiJFUzI1NiJ9.e30.c2ln'],
    }),
    refreshToken: z.string().meta({ description: 'Valid for one refresh.', examples: ['rt_2v8xq'] }),
    expiresInSeconds: z.int().meta({ examples: [900] }),
  })
  .meta({ id: 'Session' })

const toAnswer = (tokens: Tokens | undefined): Answer => {
  const { accessToken, refreshToken, expiresInSeconds } = tokens!
  return {
    status: 201,
    headers: { 'Cache-Control': 'no-store' },
    body: { accessToken, refreshToken, expiresInSeconds } satisfies z.infer<typeof session>,
  }
}

export const sessions = ({ users }: Clients) => [
  operation({
    id: 'logIn',
    method: 'post',
    path: '/v1/sessions',
    tag: 'Accounts',
    access: 'public',
    limit: 'auth',
    summary: 'Log in',
    body: z
      .strictObject({
        email,
        password: characters(1, 256).meta({ format: 'password', examples: ['correct horse battery staple'] }),
      })
      .meta({ id: 'Credentials' }),
    responses: { 201: { description: 'Tokens', schema: session } },
    problems: ['bad_credentials', 'too_many_logins'],
    handle: async ({ body, call }) => toAnswer((await users.authenticateUser(body, call)).tokens),
  }),
  operation({
    id: 'refreshSession',
    method: 'post',
    path: '/v1/sessions/refresh',
    tag: 'Accounts',
    access: 'public',
    limit: 'auth',
    summary: 'Exchange a refresh token for new tokens; it works once',
    body: z
      .strictObject({
        refreshToken: characters(1, 1_000).meta({ examples: ['rt_2v8xq'] }),
      })
      .meta({ id: 'Refresh' }),
    responses: { 201: { description: 'Tokens', schema: session } },
    problems: ['bad_refresh_token'],
    handle: async ({ body, call }) => toAnswer((await users.refreshTokens(body, call)).tokens),
  }),
]
