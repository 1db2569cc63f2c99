import * as z from 'zod'
import { AppError } from '#lib/errors.ts'
import { normaliseSku, skuProblem, skuRule } from '#lib/text.ts'

// What the resources share. Bodies are strict objects: a field that is not known is an error, not a
// surprise later.

/**
 * Text of so many characters as people and JSON Schema count them: one outside the basic plane is
 * one, not two.
 */
export const characters = (min: number, max: number) =>
  z
    .string()
    .refine(
      (s) => s.length >= min && (min < 2 || [...s].length >= min),
      min === 1 ? 'must not be empty' : `must have at least ${min} characters`,
    )
    .refine(
      (s) => s.length <= max || (s.length <= 2 * max && [...s].length <= max),
      `must have at most ${max} characters`,
    )
    .meta({ minLength: min, maxLength: max })

/** One line of text: no control characters, nor only spaces where something must be said. */
export const text = (min: number, max: number) =>
  characters(min, max)
    .refine((s) => !/\p{Cc}/u.test(s), 'must not have control characters')
    .refine((s) => s.trim() !== '' || s === '', 'must not be blank')

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
    description: 'Stock keeping unit: names a variant in the whole catalogue.',
    examples: ['clay-plant-pot-large'],
  })

const maxAmount = 1_000_000_000_000
export const money = z
  .strictObject({
    amount: z
      .int()
      .min(0)
      .max(maxAmount)
      .meta({ description: 'In minor units: cents for USD.', examples: [1599] }),
    currency: z
      .string()
      .regex(/^[A-Z]{3}$/, 'must be an ISO 4217 code such as USD')
      .meta({ examples: ['USD'] }),
  })
  .meta({ id: 'Money' })

/** Money as answered: what a service holds is passed on as it is. */
export const moneyOut = z
  .object({
    amount: z.int().meta({ description: 'In minor units: cents for USD.', examples: [1599] }),
    currency: z.string().meta({ examples: ['USD'] }),
  })
  .meta({ id: 'Amount' })

export const toMoney = (m: { amount: number; currency: string } | undefined): z.infer<typeof moneyOut> => ({
  amount: m?.amount ?? 0,
  currency: m?.currency ?? '',
})

export const time = z.string().meta({ format: 'date-time', examples: ['2026-03-01T12:00:00.000Z'] })

export const paging = {
  limit: z
    .string()
    .regex(/^[0-9]{1,9}$/, 'must be a whole number')
    .transform(Number)
    .pipe(z.int().min(1).max(100))
    .default(20)
    .meta({
      description: 'How many to answer at most.',
      override: { type: 'integer', minimum: 1, maximum: 100, default: 20 },
    }),
  cursor: z.string().min(1).max(1_000).optional().meta({ description: '`next` of the page before.' }),
}

/** `{ items, next }`, where `next` is null on the last page. */
export const pageOf = <S extends z.ZodType>(item: S) =>
  z.object({
    items: z.array(item),
    next: z
      .string()
      .nullable()
      .meta({ description: 'The cursor of the next page; null on the last.', examples: [null] }),
  })

export const toPage = <T>(items: T[], nextCursor = '') => ({ items, next: nextCursor === '' ? null : nextCursor })

/**
 * A call whose wrong fields are named as in the body that was sent: below `field`, in place of
 * `own` where the service has a name for that.
 */
export const inField = <T>(field: string, call: Promise<T>, own?: string): Promise<T> =>
  call.catch((error) => {
    if (!(error instanceof AppError) || error.fields.length === 0) throw error
    const fields = error.fields.map((f) => ({
      field: own === undefined ? `${field}.${f.field}` : f.field.replace(own, field),
      message: f.message,
    }))
    throw new AppError(error.kind, error.code, fields.map((f) => `${f.field}: ${f.message}`).join('; '), {
      cause: error,
      fields,
    })
  })
