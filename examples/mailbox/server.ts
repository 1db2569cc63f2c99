import { timingSafeEqual } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import express, { type ErrorRequestHandler, type RequestHandler, type Response } from 'express'
import * as z from 'zod'
import type { Logger } from '#lib/logger.ts'
import { contentSecurityPolicy, mailboxPage } from './page.ts'
import type { MailStore } from './store.ts'

const text = (max: number) => z.string().min(1).max(max)
const mailSchema = z.object({
  from: text(1_000),
  to: z.union([text(1_000), z.array(text(1_000)).length(1)]).transform((to) => (typeof to === 'string' ? to : to[0]!)),
  subject: text(1_000),
  text: text(100_000),
})
const keySchema = text(256).optional()
const shown = 100

type MailboxOptions = { host?: string; port: number; apiKey: string; store: MailStore; log: Logger }

/**
 * Serves the one call of Resend's API (https://resend.com/docs/api-reference/emails/send-email)
 * that the shop needs, and shows what came. Listens on loopback unless `host` says otherwise.
 * Returns the port (a free one if `port` is 0) and a function that closes the server.
 */
export async function serveMailbox({ host = '127.0.0.1', port, apiKey, store, log }: MailboxOptions) {
  const authenticate: RequestHandler = (req, res, next) => {
    if (sameKey(req.headers.authorization, apiKey)) return next()
    log.warn('missing or wrong API key')
    refuse(res, 401, 'missing_api_key', 'missing or wrong API key')
  }

  const app = express()
    .disable('x-powered-by')
    .get('/livez', (_req, res) => void res.type('text').send('ok\n'))
    .get(
      '/',
      (_req, res) =>
        void res.set('Content-Security-Policy', contentSecurityPolicy).send(mailboxPage(store.list(shown))),
    )
    // For tests and scripts: Resend has nothing of the kind.
    .get('/mails', (req, res) => {
      const to = z.string().optional().parse(req.query['to'])
      res.json({ data: store.list(shown, to) })
    })
    .post('/emails', authenticate, express.json({ limit: '256kb' }), (req, res) => {
      const mail = mailSchema.safeParse(req.body)
      if (!mail.success) return refuse(res, 422, 'validation_error', z.prettifyError(mail.error))
      if (isRefused(mail.data.to)) return refuse(res, 422, 'validation_error', 'no mail is sent to this address')
      const key = keySchema.safeParse(req.headers['idempotency-key'])
      if (!key.success) return refuse(res, 400, 'invalid_idempotency_key', 'must have 1 to 256 characters')
      const added = store.add(mail.data, key.data)
      if (added === 'other mail')
        return refuse(res, 409, 'invalid_idempotent_request', 'this key was used for a different mail')
      log.info({ mailId: added.id }, 'mail')
      res.json(added)
    })
    .use(((error: Error & { status?: number }, _req, res, _next) => {
      const status = error.status ?? 500
      if (status >= 500) log.error({ err: error }, 'request failed')
      refuse(res, status, 'application_error', status >= 500 ? 'internal error' : error.message)
    }) satisfies ErrorRequestHandler)

  const server = app.listen(port, host)
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    close: () => {
      server.close()
      server.closeAllConnections()
    },
  }
}

/** Like a real provider's list of addresses that have bounced. */
const isRefused = (address: string) => /^refused[.@]/.test(address)

const refuse = (res: Response, statusCode: number, name: string, message: string) =>
  void res.status(statusCode).json({ statusCode, name, message })

function sameKey(header: string | undefined, apiKey: string): boolean {
  const [given, expected] = [Buffer.from(header ?? ''), Buffer.from(`Bearer ${apiKey}`)]
  return given.length === expected.length && timingSafeEqual(given, expected)
}
