import { argon2, randomBytes, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'
import { AppError } from '#lib/errors.ts'

// argon2id with 19 MiB, two passes and one lane, as in
// https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html. A stored hash
// carries its own parameters, so these can be raised.
const memoryKiB = 19 * 1024
const passes = 2
const lanes = 1
const saltBytes = 16
const tagBytes = 32

const derive = promisify(argon2)

export type Passwords = {
  /** Returns a new salted hash as a PHC string: $argon2id$v=19$m=19456,t=2,p=1$salt$hash. */
  hash(password: string): Promise<string>
  /**
   * Returns whether the password matches the hash. Without a hash it does the same work and returns
   * false: the time taken does not reveal which accounts exist. `client` is whose turn it is.
   */
  verify(password: string, phc: string | undefined, client?: string): Promise<boolean>
}

/**
 * Creates the hashing of passwords. One hash takes about 20 ms of a core and 19 MiB, so at most
 * `concurrency` run at once. The others wait, and clients have their turns one after another, so a
 * client with a hundred waiting delays one with a single one by one hash. Who would wait for more
 * than `maxWaitMs`, after which callers give up, or has `perClient` waiting already, gets
 * `exhausted` too_many_logins.
 */
export function createPasswords(
  options: { concurrency?: number; perClient?: number; maxWaitMs?: number } = {},
): Passwords {
  const { concurrency = 2, perClient = 100, maxWaitMs = 1_800 } = options
  const limited = takeTurns({ concurrency, perClient, maxWaitMs })
  const run = (password: string, p: Parameters, client = '') =>
    limited(client, () =>
      derive('argon2id', {
        message: password,
        nonce: p.salt,
        parallelism: p.lanes,
        memory: p.memoryKiB,
        passes: p.passes,
        tagLength: p.tag.length,
      }),
    )
  const fresh = (): Parameters => ({
    memoryKiB,
    passes,
    lanes,
    salt: randomBytes(saltBytes),
    tag: Buffer.alloc(tagBytes),
  })
  return {
    async hash(password) {
      const parameters = fresh()
      return format({ ...parameters, tag: await run(password, parameters) })
    },
    async verify(password, phc, client) {
      const stored = phc === undefined ? fresh() : parse(phc)
      const tag = await run(password, stored, client)
      return timingSafeEqual(tag, stored.tag) && phc !== undefined
    },
  }
}

type Parameters = { memoryKiB: number; passes: number; lanes: number; salt: Buffer; tag: Buffer }

const base64 = (bytes: Buffer) => bytes.toString('base64').replaceAll('=', '')
const format = (p: Parameters) =>
  `$argon2id$v=19$m=${p.memoryKiB},t=${p.passes},p=${p.lanes}$${base64(p.salt)}$${base64(p.tag)}`

const phcString =
  /^\$argon2id\$v=19\$m=(\d{1,7}),t=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{16,86})$/

function parse(phc: string): Parameters {
  const [, m, t, p, salt, tag] = phcString.exec(phc) ?? []
  if (!m || !t || !p || !salt || !tag) throw new Error('a stored password hash is not an argon2id PHC string')
  return {
    memoryKiB: Number(m),
    passes: Number(t),
    lanes: Number(p),
    salt: Buffer.from(salt, 'base64'),
    tag: Buffer.from(tag, 'base64'),
  }
}

function takeTurns(limits: { concurrency: number; perClient: number; maxWaitMs: number }) {
  const { concurrency, perClient, maxWaitMs } = limits
  const refused = () => new AppError('exhausted', 'too_many_logins', 'too many log-ins at once: retry in a moment')
  let running = 0
  /** Who waits, by client; the client whose turn it is comes first. */
  const waiting = new Map<string, Set<() => void>>()

  function leave(client: string, take: () => void): void {
    const own = waiting.get(client)
    own?.delete(take)
    if (own?.size === 0) waiting.delete(client)
  }

  function turn(client: string): Promise<void> {
    const own = waiting.get(client) ?? new Set()
    if (own.size >= perClient) return Promise.reject(refused())
    return new Promise((resolve, reject) => {
      const take = () => {
        clearTimeout(timer)
        leave(client, take)
        resolve()
      }
      const timer = setTimeout(() => {
        leave(client, take)
        reject(refused())
      }, maxWaitMs)
      own.add(take)
      waiting.set(client, own)
    })
  }

  /** Gives a place to the next client, which then is the last one. */
  function next(): boolean {
    const [first] = waiting
    if (!first) return false
    const [client, own] = first
    const [take] = own
    waiting.delete(client)
    waiting.set(client, own)
    take!()
    return true
  }

  return async <T>(client: string, work: () => Promise<T>): Promise<T> => {
    // A place is passed to the next in turn, not freed: no newcomer can take it in between.
    if (running >= concurrency) await turn(client)
    else running++
    try {
      return await work()
    } finally {
      if (!next()) running--
    }
  }
}
