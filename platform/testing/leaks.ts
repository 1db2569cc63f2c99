// What must never be read where the shop is watched: in logs, traces and events.

/** The payment method that tests send in place of a card's number; the shop refuses it. */
export const cardNumber = '4242424242424242'

/** What passwords of tests begin with. */
export const passwordMark = 'password-of-a-test-'

const patterns: Record<string, RegExp> = {
  'an e-mail address': /[\w.+-]+(?:@|%40)example\.(?:com|net|org)/i,
  'a password': new RegExp(`${passwordMark}[\\w-]*`),
  'an access token': /eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}/,
  // The format of services/users/session-store.ts.
  'a refresh token': /\b[0-3][0-9a-f]{2}\.[\w-]{22}\.[\w-]{43}\b/,
  "a card's number": new RegExp(cardNumber),
}

export type Leak = { what: string; context: string }

/**
 * Finds e-mail addresses, tokens, marked passwords and card numbers in a text, and these secrets.
 * @param secrets by what each is
 * @returns the first of each kind, with 80 characters on both sides
 */
export function findLeaks(text: string, secrets: Map<string, string>): Leak[] {
  const near = (at: number, length: number) => text.slice(Math.max(0, at - 80), at + length + 80)
  const matched = Object.entries(patterns).flatMap(([what, pattern]) => {
    const match = pattern.exec(text)
    return match ? [{ what, context: near(match.index, match[0].length) }] : []
  })
  const found = [...secrets].flatMap(([what, secret]) => {
    const at = text.indexOf(secret)
    return at < 0 ? [] : [{ what, context: near(at, secret.length) }]
  })
  return [...matched, ...found]
}

/**
 * Returns the values in an object that are texts, by their paths: `services.users.database`.
 * @param isSecret says of a path whether its value is a secret
 */
export function secretsIn(value: object, isSecret: (path: string) => boolean, prefix = ''): Map<string, string> {
  return new Map(
    Object.entries(value).flatMap(([key, inner]: [string, unknown]): [string, string][] => {
      const path = `${prefix}${key}`
      if (typeof inner === 'string') return isSecret(path) ? [[path, inner]] : []
      return [...secretsIn(inner as object, isSecret, `${path}.`)]
    }),
  )
}
