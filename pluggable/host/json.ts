import { isUtf8 } from 'node:buffer'

/**
 * How deep a JSON text nests. MariaDB's JSON check gives up below 32 levels and BSON below 100, so
 * deeper values are stored as plain bytes.
 */
export function jsonDepth(text: string): number {
  let depth = 0
  let deepest = 0
  let inString = false
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at)
    if (inString) {
      if (code === 92) at += 1
      else if (code === 34) inString = false
    } else if (code === 34) inString = true
    else if (code === 123 || code === 91) deepest = Math.max(deepest, (depth += 1))
    else if (code === 125 || code === 93) depth -= 1
  }
  return deepest
}

/** The bytes as text when they are valid UTF-8, else undefined. */
export function utf8(bytes: Buffer): string | undefined {
  return isUtf8(bytes) ? bytes.toString('utf8') : undefined
}

/** The parsed value of a JSON text, wrapped so that `null` can be told from "not JSON". */
export function parseJson(text: string): { value: unknown } | undefined {
  try {
    return { value: JSON.parse(text) as unknown }
  } catch {
    return undefined
  }
}
