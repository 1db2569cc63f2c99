import * as z from 'zod'
import type { Tokens } from '#protos/shop/users/v1/users.ts'
import type { Clients } from '../clients.ts'
import { operation, type Answer } from '../http/operation.ts'
import { characters, pageOf, text, time, toPage } from '../http/schemas.ts'
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

const ownSession = z
  .object({
    id: z.string().meta({ examples: ['dGhpcyBpcyBhIHNlc3Npb24'] }),
    createdAt: time,
    lastUsedAt: time.meta({ description: 'When it was last refreshed.' }),
    current: z.boolean().meta({ description: 'Whether it is the one that asks.' }),
  })
  .meta({ id: 'OwnSession' })

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
    limit: 'logIn',
    summary: 'Log in',
    body: z
      .strictObject({
        email,
        password: characters(1, 256).meta({ format: 'password', examples: ['correct horse battery staple'] }),
      })
      .meta({ id: 'Credentials' }),
    responses: { 201: { description: 'Tokens', schema: session } },
    problems: ['bad_credentials', 'too_many_guesses', 'too_many_logins'],
    handle: async ({ body, client, call }) =>
      toAnswer((await users.authenticateUser({ ...body, client }, call)).tokens),
  }),
  operation({
    id: 'refreshSession',
    method: 'post',
    path: '/v1/sessions/refresh',
    tag: 'Accounts',
    access: 'public',
    limit: 'logIn',
    summary: 'Exchange a refresh token for new tokens',
    description:
      'It works once, and for 10 s more in case the answer was lost. One that comes again later ends its session, ' +
      'because somebody else has it.',
    body: z
      .strictObject({
        refreshToken: characters(1, 1_000).meta({ examples: ['rt_2v8xq'] }),
      })
      .meta({ id: 'Refresh' }),
    responses: { 201: { description: 'Tokens', schema: session } },
    problems: ['bad_refresh_token'],
    handle: async ({ body, call }) => toAnswer((await users.refreshTokens(body, call)).tokens),
  }),
  operation({
    id: 'listSessions',
    method: 'get',
    path: '/v1/sessions',
    tag: 'Accounts',
    access: 'user',
    summary: 'Your sessions, newest first',
    responses: { 200: { description: 'All of them, on one page', schema: pageOf(ownSession) } },
    async handle({ user, call }) {
      const { sessions } = await users.listSessions({ userId: user.id }, call)
      const items = sessions.map((each) => ({ ...each, current: each.id === user.sessionId }))
      return { status: 200, body: toPage<z.infer<typeof ownSession>>(items) }
    },
  }),
  operation({
    id: 'endSession',
    method: 'delete',
    path: '/v1/sessions/{sessionId}',
    tag: 'Accounts',
    access: 'user',
    summary: 'Log out: end a session',
    description: 'Its refresh token is worth nothing from then on; its access token within a minute.',
    params: z.object({
      sessionId: text(1, 100).meta({
        description: '`current`, or the id of a session of yours.',
        examples: ['current'],
      }),
    }),
    responses: { 204: { description: 'Ended' } },
    problems: ['session_not_found'],
    async handle({ user, params, call }) {
      const sessionId = params.sessionId === 'current' ? user.sessionId : params.sessionId
      await users.endSession({ userId: user.id, sessionId }, call)
      return { status: 204, body: undefined }
    },
  }),
  operation({
    id: 'endSessions',
    method: 'delete',
    path: '/v1/sessions',
    tag: 'Accounts',
    access: 'user',
    summary: 'Log out everywhere: end all sessions',
    responses: { 204: { description: 'Ended' } },
    async handle({ user, call }) {
      await users.endSessions({ userId: user.id, exceptSessionId: '' }, call)
      return { status: 204, body: undefined }
    },
  }),
]
