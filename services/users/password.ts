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
   * false: the time taken does not reveal which accounts exist.
   */
  verify(password: string, phc: string | undefined): Promise<boolean>
}

/**
 * Creates the hashing of passwords. One hash takes about 20 ms of a core and 19 MiB, so at most
 * `concurrency` run at once, and at most `queue` wait for at most `maxWaitMs`. Beyond that, calls
 * throw `exhausted` too_many_logins: a burst of log-ins neither takes all memory nor keeps the
 * service hashing for callers that have given up (after 2 s).
 */
export function createPasswords(options: { concurrency?: number; queue?: number; maxWaitMs?: number } = {}): Passwords {
  const { concurrency = 2, queue = 64, maxWaitMs = 1_000 } = options
  const limited = limit(concurrency, queue, maxWaitMs)
  const run = (password: string, p: Parameters) =>
    limited(() =>
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
    async verify(password, phc) {
      const stored = phc === undefined ? fresh() : parse(phc)
      const tag = await run(password, stored)
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

function limit(concurrency: number, queue: number, maxWaitMs: number) {
  const refused = () => new AppError('exhausted', 'too_many_logins', 'too many log-ins at once: retry in a moment')
  let running = 0
  const waiting = new Set<() => void>()

  function turn(): Promise<void> {
    if (waiting.size >= queue) return Promise.reject(refused())
    return new Promise((resolve, reject) => {
      const take = () => {
        clearTimeout(timer)
        waiting.delete(take)
        resolve()
      }
      const timer = setTimeout(() => {
        waiting.delete(take)
        reject(refused())
      }, maxWaitMs)
      waiting.add(take)
    })
  }

  return async <T>(work: () => Promise<T>): Promise<T> => {
    // A place is passed to the next in the queue, not freed: no newcomer can take it in between.
    if (running >= concurrency) await turn()
    else running++
    try {
      return await work()
    } finally {
      const [next] = waiting
      if (next) next()
      else running--
    }
  }
}
