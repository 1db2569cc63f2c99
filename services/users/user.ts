import { createHash } from 'node:crypto'
import { invalid, invalidFields, type FieldError } from '#lib/errors.ts'
import { normaliseLine, textProblem } from '#lib/text.ts'

// What an account is, and which input creates one. No I/O.

export const roles = ['shopper', 'seller', 'admin'] as const
export type Role = (typeof roles)[number]

export type Account = {
  id: string
  /** Normalised by normaliseEmail. */
  email: string
  name: string
  /** A PHC string: see password.ts. */
  passwordHash: string
  roles: Role[]
  active: boolean
  /** RFC 3339 */
  createdAt: string
  /** Of the request that registered it, hashed. Missing if it had none. */
  registrationKey?: string | undefined
}

/** The input for a new account, checked and normalised. */
export type NewAccount = { email: string; password: string; name: string }

export const passwordRule = { min: 8, max: 256 }
const nameRule = { min: 1, max: 200 }
// RFC 5321, section 4.5.3.1.
const emailBytes = 254
const localPartBytes = 64

const localPart = /^[^\s@"<>()[\]\\,:;.\p{C}]+(\.[^\s@"<>()[\]\\,:;.\p{C}]+)*$/u
const domain =
  /^[\p{L}\p{N}]([\p{L}\p{M}\p{N}-]*[\p{L}\p{M}\p{N}])?(\.[\p{L}\p{N}]([\p{L}\p{M}\p{N}-]*[\p{L}\p{M}\p{N}])?)+$/u

const bytes = (text: string) => Buffer.byteLength(text)

/** Returns the one spelling of an email address, or undefined if the text is not an address. */
export function normaliseEmail(text: string): string | undefined {
  if (text.length > 4 * emailBytes) return undefined
  // Lower case may decompose a letter (İ), hence NFC once more.
  const email = text.trim().normalize('NFC').toLowerCase().normalize('NFC')
  const at = email.lastIndexOf('@')
  const [local, host] = [email.slice(0, Math.max(at, 0)), email.slice(at + 1)]
  if (bytes(email) > emailBytes || bytes(local) > localPartBytes) return undefined
  if (textProblem(email, { max: emailBytes })) return undefined
  return localPart.test(local) && domain.test(host) ? email : undefined
}

/**
 * Returns a password as it is hashed: in NFC, since keyboards differ in how they compose letters.
 */
export const normalisePassword = (text: string) => text.normalize('NFC')

/**
 * Checks and normalises a registration. Throws `invalid` naming every wrong field: `email`,
 * `password`, `name`.
 */
export function parseNewAccount(input: { email: string; password: string; name: string }): NewAccount {
  const fields: FieldError[] = []
  const check = (field: string, message: string | undefined) => {
    if (message !== undefined) fields.push({ field, message })
  }

  const email = normaliseEmail(input.email)
  check('email', email === undefined ? `must be an email address of at most ${emailBytes} bytes` : undefined)

  const password = normalisePassword(input.password)
  check('password', textProblem(password, passwordRule))

  const name = normaliseLine(input.name, nameRule)
  check('name', textProblem(name, nameRule))

  if (email === undefined || fields.length > 0) throw invalidFields(fields)
  return { email, password, name }
}

/**
 * Checks a list of roles; returns each once. Throws `invalid` naming `roles`, also if there is
 * none.
 */
export function parseRoles(input: string[]): Role[] {
  const known = roles.filter((role) => input.includes(role))
  if (known.length === 0 || input.some((role) => !known.includes(role as Role)))
    throw invalid('roles', `must be one or more of ${roles.join(', ')}`)
  return known
}

/**
 * Returns the slot of an email, 000 to 3ff: the first 10 bits of its SHA-256. Everything of one
 * account shares its slot, so the store can be spread over several databases without a change here.
 */
export function slotOf(email: string): string {
  return (createHash('sha256').update(email).digest().readUInt16BE() >> 6).toString(16).padStart(3, '0')
}

/** Returns an account's id. It contains the slot, so the id alone finds the account. */
export const userIdOf = (email: string, ulid: string) => `u-${slotOf(email)}-${ulid.toLowerCase()}`

const userId = /^u-([0-3][0-9a-f]{2})-[0-9a-hjkmnp-tv-z]{26}$/
/** Returns the slot in a user id, or undefined if the text is not a user id. */
export const slotOfUserId = (id: string): string | undefined => userId.exec(id)?.[1]
