// Dapr refuses keys with `||`, which a SKU may contain.
const keyPart = (sku: string) => sku.replace(/[%|]/g, encodeURIComponent)

/** The key of what is known about a SKU. */
export const skuKey = (sku: string) => `sku:{catalog}:${keyPart(sku)}`
