import { jsonDepth, parseJson, utf8 } from '../host/json.ts'

// MariaDB's check of a JSON column fails at 32 levels.
const maxJsonDepth = 30

/**
 * Returns the two columns for a value: JSON as is, anything else as a JSON string in base64, as in
 * Dapr's state.mysql.
 */
export function toColumns(value: Buffer): { value: string; isBinary: 0 | 1 } {
  const text = utf8(value)
  if (text !== undefined && parseJson(text) && jsonDepth(text) <= maxJsonDepth) return { value: text, isBinary: 0 }
  return { value: JSON.stringify(value.toString('base64')), isBinary: 1 }
}

/** Returns the bytes of a value from its two columns. */
export function fromColumns(value: string, isBinary: boolean): Buffer {
  if (!isBinary) return Buffer.from(value, 'utf8')
  return Buffer.from(JSON.parse(value) as string, 'base64')
}
