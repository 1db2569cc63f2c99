import type { StoredProduct } from './product.ts'

// A product as others see it.

const variantsOf = (product: StoredProduct) =>
  product.variants.map(({ sku, options, price, level }) => ({
    sku,
    options: Object.fromEntries(options.map(({ name, value }) => [name, value])),
    price,
    available: level.available,
  }))

const availableOf = (product: StoredProduct) => product.variants.reduce((sum, { level }) => sum + level.available, 0)

/** Returns a product as the API shows it: JSON, schema Product of /openapi.json. */
export function productJson(product: StoredProduct): Buffer {
  const { id, handle, title, description, vendor, categoryId, images, attributes, published } = product
  return Buffer.from(
    JSON.stringify({
      id,
      handle,
      title,
      description,
      vendor,
      categoryId,
      images,
      attributes,
      variants: variantsOf(product),
      available: availableOf(product),
      published,
      createdAt: product.createdAt,
      updatedAt: product.updatedAt,
    }),
  )
}

/** Returns the data of an event that carries a whole product (docs/events.md). */
export function productEvent(product: StoredProduct) {
  const { id, version, handle, title, description, vendor, categoryId, categoryIds, images, attributes } = product
  return {
    productId: id,
    version,
    handle,
    title,
    description,
    vendor,
    categoryId,
    categoryIds,
    images,
    attributes,
    variants: variantsOf(product),
    available: availableOf(product),
    // Units ordered so far: what sorting by popularity goes by.
    popularity: product.variants.reduce((sum, { level }) => sum + level.ordered, 0),
    published: product.published,
    createdAt: product.createdAt,
    updatedAt: product.updatedAt,
  }
}
