import * as z from 'zod'
import { moneyOut, time } from '../http/schemas.ts'

/** A product as catalog and search make it, as JSON that is passed on unchanged. */
export const product = z
  .object({
    id: z.string().meta({ examples: ['p-mzxw6ytboi4gk3dfmnzgs43tmu'] }),
    handle: z.string().meta({ examples: ['clay-plant-pot'] }),
    title: z.string().meta({ examples: ['Clay Plant Pot'] }),
    description: z
      .string()
      .meta({ description: 'Sanitised HTML.', examples: ['<p>Classic blown clay pot for plants</p>'] }),
    vendor: z.string().meta({ examples: ['Company 123'] }),
    categoryId: z.string().meta({ examples: ['c-mzxw6ytboi'] }),
    images: z.array(z.string()).meta({ examples: [['https://images.example/pot.jpg']] }),
    attributes: z.record(z.string(), z.unknown()).meta({ examples: [{ material: 'clay' }] }),
    variants: z.array(
      z.object({
        sku: z.string().meta({ examples: ['clay-plant-pot-large'] }),
        options: z.record(z.string(), z.string()).meta({ examples: [{ Size: 'Large' }] }),
        price: moneyOut,
        available: z.int().meta({ description: 'Units for sale: exact up to 20, else to a twentieth.', examples: [3] }),
      }),
    ),
    available: z.int().meta({ description: 'The sum over its variants.', examples: [3] }),
    published: z.boolean(),
    createdAt: time,
    updatedAt: time,
  })
  .meta({ id: 'Product' })
