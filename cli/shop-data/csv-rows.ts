import { createReadStream } from 'node:fs'
import { pipeline, Transform, type Readable } from 'node:stream'
import { parse } from 'csv-parse'

/**
 * One record of a CSV file by column name; `line` is where it begins. Cells are trimmed, blank ones
 * omitted.
 */
export type Row = { line: number; cells: Record<string, string> }
export type Problem = { line: number; field: string; message: string }

const maxRecordBytes = 8 * 1024 * 1024

export const openCsv = (file: string): Readable => createReadStream(file)

/**
 * Parses a stream of CSV, with or without a BOM, CRLF, and quoted commas and newlines; skips blank
 * rows. Yields rows, and a problem for each one that does not fit the header. Throws when there is
 * no header or it lacks a `required` column.
 */
export async function* readRows(source: Readable, required: string[] = []): AsyncGenerator<Row | Problem> {
  const broken: string[] = []
  const parser = parse({
    bom: true,
    columns: false,
    info: true,
    relax_column_count: true,
    relax_quotes: true,
    skip_empty_lines: true,
    max_record_size: maxRecordBytes,
    skip_records_with_error: true,
    on_skip: (error) => void broken.push(error?.code ?? ''),
  })
  // The loop below throws what fails.
  pipeline(source, lineFeeds(), parser, () => {})

  let header: string[] | undefined
  let endLine = 0
  let emptyLines = 0
  for await (const { record, info } of parser as AsyncIterable<{
    record: string[]
    info: { lines: number; empty_lines: number }
  }>) {
    const line = endLine + (info.empty_lines - emptyLines) + 1
    endLine = info.lines
    emptyLines = info.empty_lines
    if (!header) {
      header = record.map((name) => name.trim())
      const missing = required.filter((name) => !header!.includes(name))
      if (missing.length > 0)
        throw new Error(`line ${line}: the header has no column ${missing.map((name) => `"${name}"`).join(', ')}`)
      continue
    }
    const cells = record.map((cell) => cell.trim())
    if (cells.every((cell) => cell === '')) continue
    if (cells.slice(header.length).some((cell) => cell !== '') || cells.length < header.length) {
      yield { line, field: 'row', message: `has ${cells.length} columns where the header has ${header.length}` }
      continue
    }
    yield {
      line,
      cells: Object.fromEntries(
        header.flatMap((name, i) => (name === '' || cells[i] === '' ? [] : [[name, cells[i]!]])),
      ),
    }
  }
  if (broken.length > 0) {
    yield {
      line: endLine + 1,
      field: 'row',
      message: broken.includes('CSV_QUOTE_NOT_CLOSED')
        ? 'a quote on this or a later line is never closed; nothing from here on was read'
        : 'is not valid CSV; nothing from here on was read',
    }
  }
  if (!header) throw new Error('line 1: the file has no header')
}

/** Turns CRLF into LF, since csv-parse counts a quoted CRLF as two lines. */
function lineFeeds(): Transform {
  let held = ''
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true })
  return new Transform({
    transform(chunk: Buffer | string, _encoding, done) {
      const text = held + (typeof chunk === 'string' ? chunk : decoder.decode(chunk, { stream: true }))
      held = text.endsWith('\r') ? '\r' : ''
      done(null, text.slice(0, text.length - held.length).replaceAll('\r\n', '\n'))
    },
    flush(done) {
      done(null, held + decoder.decode())
    },
  })
}
