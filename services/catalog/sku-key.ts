// Dapr keeps `||` in keys for itself, and a SKU may hold it.
const inKey = (sku: string) => sku.replace(/[%|]/g, encodeURIComponent)

/** Where a SKU's price is stored. */
export const skuKey = (sku: string) => `sku:{catalog}:${inKey(sku)}`

/** Where is stored how many of a SKU can be bought. */
export const availabilityKey = (sku: string) => `availability:{catalog}:${inKey(sku)}`
