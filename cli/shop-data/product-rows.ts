// The rows of a Shopify CSV by product. A product's rows may be anywhere in the file.
import { createHash, type Hash } from 'node:crypto'
import { pipeline, Transform } from 'node:stream'
import { openCsv, readRows, type Problem, type Row } from './csv-rows.ts'
import { handleOf } from './shopify-product.ts'

/** Counts each product's rows, by handle, and hashes the file. */
export async function countRows(file: string): Promise<{ rowsOf: Map<string, number>; hash: string }> {
  const rowsOf = new Map<string, number>()
  const hash = createHash('sha256')
  const stream = pipeline(openCsv(file), hashing(hash), () => {})
  for await (const row of readRows(stream, ['Handle', 'Title', 'Variant Price'])) {
    const handle = 'cells' in row && handleOf(row)
    if (handle) rowsOf.set(handle, (rowsOf.get(handle) ?? 0) + 1)
  }
  return { rowsOf, hash: hash.digest('hex') }
}

const hashing = (hash: Hash) =>
  new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk)
      done(null, chunk)
    },
  })

/**
 * Yields the rows of one product at a time, as soon as the last of them is read. Rows without a
 * usable handle go to `report`.
 * @param rowsOf each product's number of rows, from `countRows`
 */
export async function* groupRows(
  file: string,
  rowsOf: Map<string, number>,
  report: (problem: Problem) => void,
): AsyncGenerator<Row[]> {
  const incomplete = new Map<string, Row[]>()
  for await (const row of readRows(openCsv(file))) {
    if (!('cells' in row)) {
      report(row)
      continue
    }
    const handle = handleOf(row)
    if (handle === undefined) {
      const message = row.cells['Handle'] === undefined ? 'is required' : 'must contain a Latin letter or a digit'
      report({ line: row.line, field: 'Handle', message })
      continue
    }
    const rows = [...(incomplete.get(handle) ?? []), row]
    incomplete.set(handle, rows)
    if (rows.length < (rowsOf.get(handle) ?? 0)) continue
    incomplete.delete(handle)
    yield rows
  }
}
