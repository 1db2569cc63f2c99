// Dapr refuses keys with `||`, which a SKU may contain.
const keyPart = (sku: string) => sku.replace(/[%|]/g, encodeURIComponent)

/** The key of a SKU's price. */
export const skuKey = (sku: string) => `sku:{catalog}:${keyPart(sku)}`

/** The key of a SKU's availability. */
export const availabilityKey = (sku: string) => `availability:{catalog}:${keyPart(sku)}`
