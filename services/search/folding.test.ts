import { expect, test } from 'vitest'
import { foldText, textOfHtml } from './folding.ts'

test.each([
  ['Crème BRÛLÉE', 'creme brulee'],
  ['ﬁne', 'fine'],
  ['', ''],
])('%s is folded to %s', (text, folded) => {
  expect(foldText(text)).toBe(folded)
})

test('what is typed so far of a Korean word is a prefix of it, letter by letter', () => {
  const word = foldText('커피잔 값')
  for (const typed of ['ㅋ', '커', '컾', '커피', '커핒', '커피자', '커피잔', '커피잔 ㄱ', '커피잔 갑', '커피잔 값'])
    expect(word.startsWith(foldText(typed))).toBe(true)
  expect(word.startsWith(foldText('코'))).toBe(false)
})

test('a tag ends a word', () => {
  expect(textOfHtml('<li>red</li><li>sky&nbsp;blue</li>').split(/\s+/)).toEqual(['', 'red', 'sky', 'blue', ''])
})
