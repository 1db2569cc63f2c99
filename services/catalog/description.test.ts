import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseDescription, sanitiseDescription } from './description.ts'

describe('sanitiseDescription', () => {
  test.each([
    ['<p onclick="x()">Hi <b>there</b></p>', '<p>Hi <b>there</b></p>'],
    ['<script>alert(1)</script>Hi', 'Hi'],
    ['<a href="javascript:alert(1)">x</a>', '<a rel="noopener">x</a>'],
    ['<a href="//evil.example">x</a>', '<a rel="noopener">x</a>'],
    [
      '<a href="https://example.com" target="_top" rel="opener">x</a>',
      '<a href="https://example.com" rel="noopener">x</a>',
    ],
    ['<img src=x onerror=alert(1)><iframe src="https://example.com"></iframe>', ''],
    ['<span style="position:fixed">x</span>', '<span>x</span>'],
    ['1 < 2 & 3', '1 &lt; 2 &amp; 3'],
    ['<td><x<p><td>', '<td></td><td></td>'],
  ])('%s becomes %s', (html, clean) => {
    expect(sanitiseDescription(html)).toBe(clean)
  })

  test('its own result stays as is', () => {
    const pieces = fc.constantFrom(
      '<p>',
      '</p>',
      '<a href="https://e.example/?a=1&b=2">',
      '</a>',
      '<script>',
      '</script>',
      '<',
      '>',
      '&',
      '&lt;',
      '"',
      "'",
      '<!--',
      '-->',
      'x',
      ' ',
      '<td>',
      '<b/>',
      'é',
    )
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 30 }), (parts) => {
        const once = sanitiseDescription(parts.join(''))
        expect(sanitiseDescription(once)).toBe(once)
        expect(once).not.toMatch(/<script/i)
      }),
    )
  })
})

describe('parseDescription', () => {
  const problemsOf = (html: string) => {
    const problems: string[] = []
    parseDescription(html, (message) => problems.push(message))
    return problems
  }

  test('accepts line and paragraph separators, and returns them as line ends', () => {
    expect(problemsOf('<p>one\u2028two\u2029three&#8232;four</p>')).toEqual([])
    expect(parseDescription('<p>one\u2028two\u2029three&#8232;four</p>', () => {})).toBe('<p>one\ntwo\nthree\nfour</p>')
  })

  test.each(['a\0b', 'a&#1;b'])('refuses the control character in %j', (html) => {
    expect(problemsOf(html)).toEqual(['must not contain control characters'])
  })
})
