import sanitizeHtml from 'sanitize-html'
import { normaliseLines, textProblem } from '#lib/text.ts'

const maxBytes = 64 * 1024

const allowedTags = [
  'a abbr b blockquote br caption code dd del div dl dt em h1 h2 h3 h4 h5 h6 hr i ins li ol p pre s',
  'small span strong sub sup table tbody td tfoot th thead tr u ul',
].flatMap((tags) => tags.split(' '))

/** Checks, normalises and sanitises a product's description; reports what is wrong with it. */
export function parseDescription(html: string, report: (message: string) => void): string {
  if (isTooLong(html)) {
    report(`must have at most ${maxBytes} bytes`)
    return ''
  }
  const clean = sanitiseDescription(html)
  // The result must be valid input again. A character reference may stand for a control character.
  if (isTooLong(clean)) report(`must have at most ${maxBytes} bytes once & is written as &amp; and the like`)
  const rule = { max: maxBytes, multiline: true }
  const problem = textProblem(html, rule) ?? textProblem(clean, rule)
  if (problem) report(problem)
  return clean
}

const isTooLong = (text: string) => text.length > maxBytes || Buffer.byteLength(text) > maxBytes

/** The parser closes tags differently when it reads its own output: `<td><x<p><td>` takes two. */
const maxPasses = 5

/**
 * Returns HTML reduced to text mark-up and links to the web, in NFC. Sanitising twice changes
 * nothing.
 */
export function sanitiseDescription(html: string): string {
  let clean = html
  for (let pass = 1; pass <= maxPasses; pass += 1) {
    const before = clean
    clean = sanitiseOnce(before)
    if (clean === before) break
  }
  return clean
}

function sanitiseOnce(html: string): string {
  const clean = sanitizeHtml(html.normalize('NFC'), {
    allowedTags,
    allowedAttributes: {
      a: ['href', 'rel', 'title'],
      abbr: ['title'],
      td: ['colspan', 'rowspan'],
      th: ['colspan', 'rowspan', 'scope'],
    },
    allowedSchemes: ['http', 'https'],
    allowedSchemesAppliedToAttributes: ['href'],
    allowProtocolRelative: false,
    transformTags: { a: sanitizeHtml.simpleTransform('a', { rel: 'noopener' }) },
    nestingLimit: 40,
  })
  return normaliseLines(clean).trim()
}
