// The shop's REST API as the benchmark's shoppers use it: kept connections, and as little CPU as
// possible, since they share the machine with the shop.
import { randomUUID } from 'node:crypto'
import { Agent, request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'

export type Answer = { status: number; body: string; retryAfterMs: number; traceparent: string }

export type ShopApi = ReturnType<typeof createShopApi>

type Sent = { token?: string; body?: unknown; headers?: Record<string, string> }

const timeoutMs = 30_000

/** @param url the edge's or the gateway's address */
export function createShopApi(url: string) {
  const agent = new Agent({ keepAlive: true, maxSockets: 1_000 })
  const { hostname, port } = new URL(url)

  /** Sends a request and returns what comes back, whatever it is. @throws when nothing does */
  function send(method: string, path: string, { token, body, headers }: Sent = {}): Promise<Answer> {
    const text = body === undefined ? '' : JSON.stringify(body)
    return new Promise((resolve, reject) => {
      const sent = request(
        {
          agent,
          hostname,
          port,
          method,
          path,
          timeout: timeoutMs,
          headers: {
            ...headers,
            ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
            ...(text === '' ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }),
          },
        },
        (response) => {
          const chunks: Buffer[] = []
          response.on('data', (chunk: Buffer) => chunks.push(chunk))
          response.on('error', reject)
          response.on('end', () =>
            resolve({
              status: response.statusCode ?? 0,
              body: Buffer.concat(chunks).toString('utf8'),
              retryAfterMs: 1_000 * Number(response.headers['retry-after'] ?? 0),
              traceparent: response.headers['traceparent']?.toString() ?? '',
            }),
          )
        },
      )
      sent.on('timeout', () => sent.destroy(new Error(`no response within ${timeoutMs / 1_000} s`)))
      sent.on('error', reject)
      sent.end(text)
    })
  }

  /** Repeats while the shop says 503 or 429. @throws Error for any other status than 2xx */
  async function need<T>(method: string, path: string, sent?: Sent): Promise<T> {
    for (let attempt = 1; ; attempt += 1) {
      const { status, body, retryAfterMs } = await send(method, path, sent)
      if (status >= 200 && status < 300) return (body === '' ? undefined : JSON.parse(body)) as T
      if ((status !== 503 && status !== 429) || attempt === 20)
        throw new Error(`${method} ${path}: ${status} ${body.slice(0, 300)}`)
      await sleep(retryAfterMs || 500)
    }
  }

  const logIn = async (email: string, password: string): Promise<string> =>
    (await need<{ accessToken: string }>('POST', '/v1/sessions', { body: { email, password } })).accessToken

  return {
    send,
    logIn,

    /** Registers a new shopper and returns their token. */
    async shopper(): Promise<string> {
      const email = `bench-${randomUUID()}@example.com`
      const password = randomUUID()
      await need('POST', '/v1/users', { body: { email, password, name: 'Bench Shopper' } })
      return logIn(email, password)
    },

    /** Creates a product of one variant in stock, and returns its SKU. */
    async product(token: string, units: number): Promise<string> {
      const sku = `bench-${randomUUID()}`
      const body = {
        title: 'A thing',
        description: '<p>Fine</p>',
        vendor: 'Acme',
        images: [],
        attributes: {},
        published: true,
        variants: [{ sku, options: {}, price: { amount: 999, currency: 'USD' } }],
      }
      await need('PUT', `/v1/products/${sku}`, { token, body })
      await need('PUT', `/v1/stock/${sku}`, { token, body: { source: 'bench', quantity: units } })
      return sku
    },

    close: () => agent.destroy(),
  }
}
