import * as z from 'zod'
import { AppError } from '#lib/errors.ts'
import { normaliseSku, skuProblem, skuRule } from '#lib/text.ts'

// What several resources use. Bodies are strict objects: an unknown field is an error.

/**
 * Text of `min` to `max` characters, counted as people and JSON Schema do: one outside the basic
 * plane is one, not two.
 */
export const characters = (min: number, max: number) =>
  z
    .string()
    .refine(
      (s) => s.length >= min && s.length <= 2 * max && inRange([...s].length, min, max),
      `must have ${min === 0 ? 'at most' : `${min} to`} ${max} characters`,
    )
    .meta({ minLength: min, maxLength: max })

const inRange = (n: number, min: number, max: number) => n >= min && n <= max

/** One line of text: no control characters, and not just spaces. */
export const text = (min: number, max: number) =>
  characters(min, max)
    .refine((s) => !/\p{Cc}/u.test(s), 'must not contain control characters')
    .refine((s) => s.trim() !== '' || s === '', 'must not be blank')

/** A whole number from `min` to `max`. */
export function wholeNumber(min: number, max: number) {
  const message = `must be ${min} to ${max}`
  return z.int().min(min, message).max(max, message)
}

/** A list of `min` (1 or more) to `max` entries. */
export function list<S extends z.ZodType>(entry: S, min: number, max: number) {
  const message = `must have ${min} to ${max} entries`
  return z.array(entry).min(min, message).max(max, message)
}

export const sku = z
  .string()
  .overwrite(normaliseSku)
  .superRefine((text, context) => {
    const message = skuProblem(text)
    if (message) context.addIssue({ code: 'custom', message })
  })
  .meta({
    minLength: skuRule.min,
    maxLength: skuRule.max,
    description: 'Stock keeping unit: identifies a variant across the catalogue.',
    examples: ['clay-plant-pot-large'],
  })

const maxAmount = 1_000_000_000_000
export const money = z
  .strictObject({
    amount: wholeNumber(0, maxAmount).meta({ description: 'In minor units: cents for USD.', examples: [1599] }),
    currency: z
      .string()
      .regex(/^[A-Z]{3}$/, 'must be an ISO 4217 code such as USD')
      .meta({ examples: ['USD'] }),
  })
  .meta({ id: 'Money' })

/** Money in responses: passed on as the services hold it. */
export const moneyOut = z
  .object({
    amount: z.int().meta({ description: 'In minor units: cents for USD.', examples: [1599] }),
    currency: z.string().meta({ examples: ['USD'] }),
  })
  .meta({ id: 'Amount' })

/** Returns the money of a message; a missing one is 0 without a currency. */
export const toMoney = (m: { amount: number; currency: string } | undefined): z.infer<typeof moneyOut> => ({
  amount: m?.amount ?? 0,
  currency: m?.currency ?? '',
})

export const time = z.string().meta({ format: 'date-time', examples: ['2026-03-01T12:00:00.000Z'] })

/** The parameter `limit` of a list. */
export function pageLimit(most: number, usual: number) {
  const message = `must be 1 to ${most}`
  return z
    .string()
    .regex(/^[0-9]{1,9}$/, message)
    .transform(Number)
    .pipe(z.int().min(1, message).max(most, message))
    .default(usual)
    .meta({
      description: 'The maximum number of items.',
      override: { type: 'integer', minimum: 1, maximum: most, default: usual },
    })
}

export const paging = {
  limit: pageLimit(100, 20),
  cursor: characters(1, 1_000).optional().meta({ description: '`next` of the previous page.' }),
}

/** `{ items, next }`, where `next` is null on the last page. */
export const pageOf = <S extends z.ZodType>(item: S) =>
  z.object({
    items: z.array(item),
    next: z
      .string()
      .nullable()
      .meta({ description: 'The cursor of the next page; null on the last page.', examples: [null] }),
  })

/** Returns the page with `items`; an empty `nextCursor` means that it is the last one. */
export const toPage = <T>(items: T[], nextCursor = '') => ({ items, next: nextCursor === '' ? null : nextCursor })

/**
 * Renames the fields of a failed call's error from what the service calls them to what they are
 * called in the request body.
 */
export const renameFields = <T>(call: Promise<T>, rename: (field: string) => string): Promise<T> =>
  call.catch((error) => {
    if (!(error instanceof AppError) || error.fields.length === 0) throw error
    const fields = error.fields.map(({ field, message }) => ({ field: rename(field), message }))
    throw new AppError(error.kind, error.code, fields.map((f) => `${f.field}: ${f.message}`).join('; '), {
      cause: error,
      fields,
    })
  })
