import { createHash } from 'node:crypto'
import { AppError, invalid, type FieldError } from '#lib/errors.ts'

// What an account is and which input makes one. No I/O.

export const roles = ['shopper', 'seller', 'admin'] as const
export type Role = (typeof roles)[number]

export type Account = {
  id: string
  /** Normalised: see normaliseEmail. */
  email: string
  name: string
  /** PHC string: see password.ts. */
  passwordHash: string
  roles: Role[]
  active: boolean
  /** RFC 3339 */
  createdAt: string
}

/** What a new account is made of, checked and normalised. */
export type NewAccount = { email: string; password: string; name: string }

export const passwordLength = { min: 8, max: 256 }
const nameLength = 200
// RFC 5321, section 4.5.3.1.
const emailBytes = 254
const localPartBytes = 64

// What no field may hold: control characters, line and paragraph separators, halves of a surrogate
// pair (which arrive over gRPC as U+FFFD).
const unreadable = /[\p{Cc}\p{Cs}\u2028\u2029\ufffd]/u
const localPart = /^[^\s@"<>()[\]\\,:;.\p{C}]+(\.[^\s@"<>()[\]\\,:;.\p{C}]+)*$/u
const domain =
  /^[\p{L}\p{N}]([\p{L}\p{M}\p{N}-]*[\p{L}\p{M}\p{N}])?(\.[\p{L}\p{N}]([\p{L}\p{M}\p{N}-]*[\p{L}\p{M}\p{N}])?)+$/u

const characters = (text: string) => [...text].length
const bytes = (text: string) => Buffer.byteLength(text)

/**
 * The one spelling of an address that accounts are found by, or undefined when the text is no
 * address.
 */
export function normaliseEmail(text: string): string | undefined {
  if (text.length > 4 * emailBytes) return undefined
  // Lower case may take a letter apart (İ), hence NFC once more.
  const email = text.trim().normalize('NFC').toLowerCase().normalize('NFC')
  const at = email.lastIndexOf('@')
  const [local, host] = [email.slice(0, Math.max(at, 0)), email.slice(at + 1)]
  if (bytes(email) > emailBytes || bytes(local) > localPartBytes || unreadable.test(email)) return undefined
  return localPart.test(local) && domain.test(host) ? email : undefined
}

/** Passwords are compared in NFC, since keyboards differ in how they compose a letter. */
export const normalisePassword = (text: string) => text.normalize('NFC')

/**
 * Checks what somebody who registers sent. Throws `invalid` with every wrong field: email,
 * password, name.
 */
export function parseNewAccount(input: { email: string; password: string; name: string }): NewAccount {
  const fields: FieldError[] = []
  const wrong = (field: string, message: string) => void fields.push({ field, message })

  const email = normaliseEmail(input.email)
  if (email === undefined) wrong('email', 'must be an email address of at most 254 bytes')

  const password = normalisePassword(input.password)
  const length = password.length > 4 * passwordLength.max ? Infinity : characters(password)
  if (length < passwordLength.min || length > passwordLength.max)
    wrong('password', `must have ${passwordLength.min} to ${passwordLength.max} characters`)
  else if (unreadable.test(password)) wrong('password', 'must not hold control characters')

  const name = input.name.length > 4 * nameLength ? input.name : input.name.normalize('NFC').trim()
  if (name === '' || characters(name) > nameLength) wrong('name', `must have 1 to ${nameLength} characters`)
  else if (unreadable.test(name)) wrong('name', 'must not hold control characters')

  if (email === undefined || fields.length > 0) {
    throw new AppError('invalid', 'invalid_field', fields.map((f) => `${f.field}: ${f.message}`).join('; '), { fields })
  }
  return { email, password, name }
}

/** Checks a list of roles; at least one, each once. Throws `invalid` naming `roles`. */
export function parseRoles(input: string[]): Role[] {
  const known = roles.filter((role) => input.includes(role))
  if (known.length === 0 || input.some((role) => !known.includes(role as Role)))
    throw invalid('roles', `must be some of ${roles.join(', ')}`)
  return known
}

/**
 * The slot, 000 to 3ff, of an email: the first 10 bits of its SHA-256. What belongs to one account
 * shares its slot, so that the store can be spread over several databases without touching this
 * service.
 */
export function slotOf(email: string): string {
  return (createHash('sha256').update(email).digest().readUInt16BE() >> 6).toString(16).padStart(3, '0')
}

/** An account's id tells its slot, so that it is found by its id alone. */
export const userIdOf = (email: string, ulid: string) => `u-${slotOf(email)}-${ulid.toLowerCase()}`

const userId = /^u-([0-3][0-9a-f]{2})-[0-9a-hjkmnp-tv-z]{26}$/
/** The slot in a user id, or undefined when the text is no user id. */
export const slotOfUserId = (id: string): string | undefined => userId.exec(id)?.[1]
