import { CompactEncrypt, compactDecrypt, exportJWK, generateKeyPair, importJWK, type CryptoKey, type JWK } from 'jose'
import * as z from 'zod'
import type { StateStore } from '#lib/dapr.ts'
import { AppError } from '#lib/errors.ts'

export const signingAlgorithm = 'ES256'
const dayMs = 24 * 60 * 60 * 1000
// A key is made up to one period before its own and verifies until the end of the one after it.
const periodsKept = 7

const storedKey = z.object({
  period: z.number().int(),
  publicJwk: z.looseObject({ kty: z.string() }),
  privateJwe: z.string(),
})
type Key = { kid: string; publicJwk: JWK; privateKey: CryptoKey }

export type SigningKeys = ReturnType<typeof createSigningKeys>

/**
 * The keys that sign access tokens: one for each period (a day unless told), named by the period's
 * number, made by whoever needs it first. Their private halves are stored encrypted with the secret
 * `jwt-encryption-key`, so that a copy of the database signs nothing. Everything throws
 * `unavailable` when the store or the secret store is away.
 */
export function createSigningKeys(o: {
  state: StateStore
  encryptionKey: () => Promise<string>
  now: () => number
  periodMs?: number
}) {
  const periodMs = o.periodMs ?? dayMs
  const keys = new Map<number, Promise<Key>>()
  let secret: Promise<Uint8Array> | undefined

  const periodNow = () => Math.floor(o.now() / periodMs)
  const storeKey = (period: number) => `signing-key:{keys}:${period}`

  function encryptionKey(): Promise<Uint8Array> {
    secret ??= o.encryptionKey().then((text) => {
      const bytes = Buffer.from(text, 'base64')
      if (bytes.length !== 32) throw new Error('the secret jwt-encryption-key must be 32 bytes in base64')
      return bytes
    })
    secret.catch(() => (secret = undefined))
    return secret
  }

  /** A period's key; made if it is not there yet. Kept in memory, since it never changes. */
  function key(period: number): Promise<Key> {
    let known = keys.get(period)
    if (!known) {
      known = loadOrMake(period)
      keys.set(period, known)
      known.catch(() => keys.delete(period))
      for (const old of keys.keys()) if (old < period - 2) keys.delete(old)
    }
    return known
  }

  async function loadOrMake(period: number): Promise<Key> {
    const stored = await o.state.get(storeKey(period), storedKey)
    if (stored) return open(stored.value)
    const pair = await generateKeyPair(signingAlgorithm, { extractable: true })
    const privateJwe = await new CompactEncrypt(Buffer.from(JSON.stringify(await exportJWK(pair.privateKey))))
      .setProtectedHeader({ alg: 'dir', enc: 'A256GCM' })
      .encrypt(await encryptionKey())
    const made = { period, publicJwk: await exportJWK(pair.publicKey), privateJwe }
    try {
      await o.state.set(storeKey(period), made, {
        firstWrite: true,
        ttlSeconds: Math.ceil((periodsKept * periodMs) / 1000),
      })
    } catch (error) {
      if (!(error instanceof AppError && error.kind === 'conflict')) throw error
      // Another instance was faster: its key is the key.
      const theirs = await o.state.get(storeKey(period), storedKey)
      if (!theirs) throw error
      return open(theirs.value)
    }
    return { kid: String(period), publicJwk: publicJwk(made), privateKey: pair.privateKey }
  }

  async function open(stored: z.infer<typeof storedKey>): Promise<Key> {
    const { plaintext } = await compactDecrypt(stored.privateJwe, await encryptionKey()).catch((cause) => {
      throw new Error(
        `signing key ${stored.period} was encrypted with another jwt-encryption-key: restore that secret, or delete the key`,
        { cause },
      )
    })
    const privateKey = (await importJWK(
      JSON.parse(Buffer.from(plaintext).toString('utf8')),
      signingAlgorithm,
    )) as CryptoKey
    return { kid: String(stored.period), publicJwk: publicJwk(stored), privateKey }
  }

  const publicJwk = (stored: { period: number; publicJwk: JWK }): JWK => {
    const { kty, crv, x, y } = stored.publicJwk
    return { kty, crv, x, y, kid: String(stored.period), alg: signingAlgorithm, use: 'sig' }
  }

  return {
    /** The key to sign with now. */
    current: (): Promise<Key> => key(periodNow()),

    /**
     * The public keys as a JSON Web Key Set: this period's, the one's before, whose tokens are
     * still out, and the next one's, so that whoever keeps the set for some time knows a key before
     * it is used.
     */
    async jwks(): Promise<{ keys: JWK[] }> {
      const period = periodNow()
      const [previous, current, next] = await Promise.all([
        o.state.get(storeKey(period - 1), storedKey),
        key(period),
        key(period + 1),
      ])
      return { keys: [...(previous ? [publicJwk(previous.value)] : []), current.publicJwk, next.publicJwk] }
    },
  }
}
