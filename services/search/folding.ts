// One spelling of text for completion and typing errors. No I/O.

/** Final consonants of Hangul in the order of Unicode, as the letters that they are typed with. */
const finals = 'ㄱ ㄲ ㄱㅅ ㄴ ㄴㅈ ㄴㅎ ㄷ ㄹ ㄹㄱ ㄹㅁ ㄹㅂ ㄹㅅ ㄹㅌ ㄹㅍ ㄹㅎ ㅁ ㅂ ㅂㅅ ㅅ ㅆ ㅇ ㅈ ㅊ ㅋ ㅌ ㅍ ㅎ'
  .split(' ')
  .map((letters) => letters.normalize('NFKD'))
const firstFinal = 0x11a8

/**
 * Returns text in lower case without accents, and Hangul as its single letters: a wrong letter then
 * is one edit, and the letters typed so far are a prefix, also within a syllable.
 */
export const foldText = (text: string): string =>
  text
    .normalize('NFKD')
    .replaceAll(/\p{M}/gu, '')
    .replaceAll(/[\u11a8-\u11c2]/g, (letter) => finals[letter.charCodeAt(0) - firstFinal]!)
    .toLowerCase()

/** The words of HTML. A tag ends a word: `<li>red</li><li>blue</li>` is two. */
export const textOfHtml = (html: string): string =>
  html.replaceAll(/<[^>]*>/g, ' ').replaceAll(/&(?:[a-z]+|#\d+|#x[\da-f]+);/gi, ' ')
