import { timingSafeEqual } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from '#lib/logger.ts'
import type { Answer, Intent, Ledger, Refund } from './ledger.ts'
import { methods } from './methods.ts'

const maxBodyBytes = 16 * 1024
const maxListed = 10_000

type SandboxOptions = { host?: string; port: number; apiKey: string; ledger: Ledger; log: Logger }

/**
 * Serves the part of Stripe's API (docs.stripe.com/api) that the shop needs: payment intents that
 * are confirmed at once and found by order, full and partial refunds, lists for audits, Bearer
 * authentication and idempotency keys. Listens on loopback unless `host` says otherwise. Returns
 * the port (a free one if `port` is 0) and a function that closes the server.
 */
export async function serveSandbox({
  host = '127.0.0.1',
  port,
  apiKey,
  ledger,
  log,
}: SandboxOptions): Promise<{ port: number; close: () => void }> {
  const server = createServer((req, res) => {
    handle(req, res).catch((err: Error) => {
      log.error({ err }, 'request failed')
      if (!res.headersSent) send(res, error(500, 'api_error', 'internal error'))
    })
  })

  async function handle(req: IncomingMessage, res: ServerResponse) {
    const url = new URL(req.url ?? '/', 'http://sandbox')
    const route = `${req.method} ${url.pathname}`
    if (route === 'GET /livez') return void res.end('ok\n')
    if (!sameKey(req.headers.authorization, apiKey))
      return send(res, error(401, 'invalid_request_error', 'missing or wrong API key'))
    switch (route) {
      case 'GET /v1/payment_intents':
        return send(
          res,
          list(url, (limit, after) => ledger.intents(limit, after).map(toIntent)),
        )
      case 'GET /v1/refunds':
        return send(
          res,
          list(url, (limit, after) =>
            ledger.refunds(limit, after, url.searchParams.get('payment_intent') ?? '').map(toRefund),
          ),
        )
      case 'GET /v1/payment_intents/search':
        return send(res, search(url))
      case 'POST /v1/payment_intents':
        return create(req, res, url.pathname, charge)
      case 'POST /v1/refunds':
        return create(req, res, url.pathname, refund)
      default:
        return send(res, error(404, 'invalid_request_error', `unknown route ${route}`))
    }
  }

  /**
   * Runs `work` once per idempotency key, then responds or misbehaves as the payment method says.
   */
  async function create(
    req: IncomingMessage,
    res: ServerResponse,
    path: string,
    work: (form: URLSearchParams) => Answer,
  ) {
    const body = await readBody(req)
    if (body === undefined) return send(res, error(413, 'invalid_request_error', 'the body is too large'))
    const form = new URLSearchParams(body)
    const key = req.headers['idempotency-key']?.toString()
    if (key !== undefined && (key.length < 1 || key.length > 255))
      return send(res, error(400, 'invalid_request_error', 'an idempotency key must have 1 to 255 characters'))
    const behaviour = methods.get(form.get('payment_method') ?? '')
    const orderId = form.get('metadata[order_id]') ?? ''
    if (behaviour?.kind === 'fail-first' && ledger.countFailure(key ?? '') <= behaviour.times)
      return send(res, error(500, 'api_error', 'internal error; retry'))

    const done = ledger.once(key, `${path}\n${body}`, () => work(form))
    if (done === 'other request')
      return send(res, error(400, 'idempotency_error', 'this idempotency key was used for a different request'))
    log.info(
      { path, status: done.answer.status, orderId: orderId === '' ? undefined : orderId, first: done.first },
      'call',
    )
    if (done.first && behaviour?.kind === 'slow') await delay(behaviour.answerAfterMs)
    if (done.first && behaviour?.kind === 'lose-answer') return void req.socket.destroy()
    if (!done.first) res.setHeader('idempotent-replayed', 'true')
    send(res, done.answer)
  }

  function charge(form: URLSearchParams): Answer {
    const amount = integer(form.get('amount'))
    const currency = form.get('currency') ?? ''
    const paymentMethod = form.get('payment_method') ?? ''
    const behaviour = methods.get(paymentMethod)
    if (amount === undefined || amount < 0)
      return error(400, 'invalid_request_error', 'amount must be a whole number of minor units', { param: 'amount' })
    if (!/^[a-z]{3}$/.test(currency))
      return error(400, 'invalid_request_error', 'currency must be a lower-case ISO 4217 code', { param: 'currency' })
    if (form.get('confirm') !== 'true')
      return error(400, 'invalid_request_error', 'confirm must be true', {
        param: 'confirm',
      })
    if (!behaviour)
      return error(400, 'invalid_request_error', 'unknown payment method', {
        code: 'resource_missing',
        param: 'payment_method',
      })
    const orderId = form.get('metadata[order_id]') ?? ''
    const charged = { amount, currency, paymentMethod, orderId }
    const succeed = () => toIntent(ledger.addIntent({ ...charged, status: 'succeeded' }))
    const decline = (code: string, declineCode: string, message: string) => {
      const intent = ledger.addIntent({ ...charged, status: 'requires_payment_method', code, declineCode })
      return error(402, 'card_error', message, { code, decline_code: declineCode, payment_intent: toIntent(intent) })
    }
    switch (behaviour.kind) {
      case 'decline':
        return decline(behaviour.code, behaviour.declineCode, behaviour.message)
      case 'require-action':
        if (form.get('error_on_requires_action') === 'true')
          return decline('authentication_required', 'authentication_required', 'Your card needs authentication.')
        return { status: 200, body: toIntent(ledger.addIntent({ ...charged, status: 'requires_action' })) }
      case 'process': {
        const succeedsAfterMs = behaviour.chargedAfterMs
        return { status: 200, body: toIntent(ledger.addIntent({ ...charged, status: 'processing', succeedsAfterMs })) }
      }
      case 'store-failure':
        if (ledger.countFailure(`${paymentMethod} ${orderId}`) > 1) return { status: 200, body: succeed() }
        if (behaviour.charges) succeed()
        return error(500, 'api_error', 'internal error')
      case 'succeed':
      case 'slow':
      case 'fail-first':
      case 'lose-answer':
        return { status: 200, body: succeed() }
    }
  }

  /** Finds an order's charges, by the one query that the shop makes. */
  function search(url: URL): Answer {
    const query = /^metadata\["order_id"\]:"([^"]+)"$/.exec(url.searchParams.get('query') ?? '')
    const limit = url.searchParams.has('limit') ? integer(url.searchParams.get('limit')) : 10
    if (!query || limit === undefined || limit < 1 || limit > 100)
      return error(400, 'invalid_request_error', 'only metadata["order_id"]:"…" can be searched for', {
        param: 'query',
      })
    const found = ledger.search(query[1] ?? '', limit + 1)
    return {
      status: 200,
      body: {
        object: 'search_result',
        url: url.pathname,
        data: found.slice(0, limit).map(toIntent),
        has_more: found.length > limit,
      },
    }
  }

  function refund(form: URLSearchParams): Answer {
    const intent = ledger.intent(form.get('payment_intent') ?? '')
    if (!intent)
      return error(404, 'invalid_request_error', 'unknown payment intent', {
        code: 'resource_missing',
        param: 'payment_intent',
      })
    if (intent.status !== 'succeeded')
      return error(400, 'invalid_request_error', 'this payment intent was not charged', {
        code: 'payment_intent_unexpected_state',
      })
    const left = intent.amount - intent.amount_refunded
    const amount = form.has('amount') ? integer(form.get('amount')) : left
    if (left === 0 && intent.amount > 0)
      return error(400, 'invalid_request_error', 'this charge is already refunded', { code: 'charge_already_refunded' })
    if (amount === undefined || amount < 0 || amount > left)
      return error(400, 'invalid_request_error', 'amount must not exceed what is left of the charge', {
        param: 'amount',
      })
    const ids = { orderId: form.get('metadata[order_id]') ?? '', refundId: form.get('metadata[refund_id]') ?? '' }
    return { status: 200, body: toRefund(ledger.addRefund(intent, amount, ids)) }
  }

  // Longer than clients keep connections, so that none is closed during a request.
  server.keepAliveTimeout = 120_000
  server.listen(port, host)
  await once(server, 'listening')
  const address = server.address()
  return {
    port: typeof address === 'object' && address ? address.port : port,
    close: () => {
      server.close()
      server.closeAllConnections()
    },
  }
}

function list(url: URL, read: (limit: number, after: string) => unknown[]): Answer {
  const limit = url.searchParams.has('limit') ? integer(url.searchParams.get('limit')) : 10
  if (limit === undefined || limit < 1 || limit > maxListed)
    return error(400, 'invalid_request_error', `limit must be 1 to ${maxListed}`, { param: 'limit' })
  const found = read(limit + 1, url.searchParams.get('starting_after') ?? '')
  return {
    status: 200,
    body: { object: 'list', url: url.pathname, data: found.slice(0, limit), has_more: found.length > limit },
  }
}

function send(res: ServerResponse, { status, body }: Answer) {
  res.statusCode = status
  res.setHeader('content-type', 'application/json')
  res.end(JSON.stringify(body))
}

const error = (status: number, type: string, message: string, more: Record<string, unknown> = {}): Answer => ({
  status,
  body: { error: { type, message, ...more } },
})

const toIntent = ({ order_id, code, decline_code, ...intent }: Intent) => ({
  object: 'payment_intent',
  ...intent,
  amount_received: intent.status === 'succeeded' ? intent.amount : 0,
  last_payment_error: code === '' ? null : { type: 'card_error', code, decline_code },
  metadata: { order_id },
})
const toRefund = ({ order_id, refund_id, ...refund }: Refund) => ({
  object: 'refund',
  ...refund,
  status: 'succeeded',
  metadata: { order_id, refund_id },
})

function integer(text: string | null): number | undefined {
  const n = text !== null && /^\d{1,15}$/.test(text) ? Number(text) : undefined
  return Number.isSafeInteger(n) ? n : undefined
}

async function readBody(req: IncomingMessage): Promise<string | undefined> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of req as AsyncIterable<Buffer>) {
    size += chunk.length
    // Read to the end, since clients read the response only then, but not stored.
    if (size <= maxBodyBytes) chunks.push(chunk)
  }
  return size > maxBodyBytes ? undefined : Buffer.concat(chunks).toString('utf8')
}

function sameKey(header: string | undefined, apiKey: string): boolean {
  const given = Buffer.from(header ?? '')
  const expected = Buffer.from(`Bearer ${apiKey}`)
  return given.length === expected.length && timingSafeEqual(given, expected)
}
