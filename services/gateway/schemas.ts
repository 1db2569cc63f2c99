import * as z from 'zod'

// What the resources share. Bodies are strict objects: a field that is not known is an error, not a surprise later.

/** Ids and the like in paths: no control characters, which no id has. */
export const pathText = (max: number) => z.string().min(1).max(max).regex(/^[^\p{Cc}]*$/u, 'must not have control characters')

const line = /^[^\p{Cc}]*$/u
/** One line of text that says something: no control characters, not only spaces. */
export const text = (min: number, max: number) =>
  z.string().min(min).max(max).regex(line, 'must be one line, without control characters').refine((s) => min === 0 || s.trim() !== '', 'must not be blank')

export const sku = text(1, 100).meta({ description: 'Stock keeping unit: names a variant in the whole catalogue.', examples: ['clay-plant-pot-large'] })

const maxAmount = 1_000_000_000_000
export const money = z.strictObject({
  amount: z.int().min(0).max(maxAmount).meta({ description: 'In minor units: cents for USD.', examples: [1599] }),
  currency: z.string().regex(/^[A-Z]{3}$/, 'must be an ISO 4217 code such as USD').meta({ examples: ['USD'] }),
}).meta({ id: 'Money' })

/** Money as answered: what a service holds is passed on as it is. */
export const moneyOut = z.object({
  amount: z.int().meta({ description: 'In minor units: cents for USD.', examples: [1599] }),
  currency: z.string().meta({ examples: ['USD'] }),
}).meta({ id: 'Amount' })

export const toMoney = (m: { amount: number; currency: string } | undefined): z.infer<typeof moneyOut> => ({ amount: m?.amount ?? 0, currency: m?.currency ?? '' })

export const time = z.string().meta({ format: 'date-time', examples: ['2026-03-01T12:00:00.000Z'] })

export const paging = {
  limit: z.string().regex(/^[0-9]{1,9}$/, 'must be a whole number').transform(Number).pipe(z.int().min(1).max(100)).default(20)
    .meta({ description: 'How many to answer at most.', override: { type: 'integer', minimum: 1, maximum: 100, default: 20 } }),
  cursor: z.string().min(1).max(1_000).optional().meta({ description: '`next` of the page before.' }),
}

/** `{ items, next }`, where `next` is null on the last page. */
export const pageOf = <S extends z.ZodType>(item: S) =>
  z.object({ items: z.array(item), next: z.string().nullable().meta({ description: 'The cursor of the next page; null on the last.', examples: [null] }) })

export const toPage = <T>(items: T[], nextCursor = '') => ({ items, next: nextCursor === '' ? null : nextCursor })
