import { createHash } from 'node:crypto'
import { invalid } from '#lib/errors.ts'
import type { Handlers } from '#lib/grpc-server.ts'
import type { SearchServiceService } from '#protos/shop/search/v1/search.ts'
import type { IndexClient } from './index-client.ts'
import { pageOf, parseQuery, searchesFor, suggestSearch, titlesOf } from './query.ts'
import type { Rebuilds } from './rebuild.ts'

const maxSuggestText = 100
const maxSuggestions = 20

/** The RPCs of protos/shop/search/v1/search.proto, which lists their errors. */
export function createSearchHandlers(deps: {
  index: IndexClient
  rebuilds: Rebuilds
}): Handlers<typeof SearchServiceService> {
  const { index, rebuilds } = deps
  return {
    async query(request) {
      const query = parseQuery(request)
      // Copies of the index rank a little differently: the pages of one list come from one copy.
      const copy = createHash('sha1')
        .update(JSON.stringify([query.categoryId, query.text]))
        .digest('base64url')
      const ask = async (fuzzy: boolean) => {
        const searches = searchesFor(query, fuzzy)
        return pageOf(query, searches, await index.search(searches.bodies, copy))
      }
      const page = await ask(query.cursor?.fuzzy ?? false)
      // Typing errors are looked for only where nothing fits the words as they are.
      const isEmpty = query.text !== '' && !query.cursor && page.products.length === 0
      return isEmpty ? ask(true) : page
    },

    async suggest({ text, limit }) {
      if ([...text].length < 1 || [...text].length > maxSuggestText || text.trim() === '')
        throw invalid('text', `must have 1 to ${maxSuggestText} characters`)
      if (limit < 1 || limit > maxSuggestions) throw invalid('limit', `must be 1 to ${maxSuggestions}`)
      const ask = async (fuzzy: boolean) =>
        titlesOf(await index.search([suggestSearch(text, limit, fuzzy)], 'suggest'), limit)
      const suggestions = await ask(false)
      return { suggestions: suggestions.length > 0 ? suggestions : await ask(true) }
    },

    async startRebuild() {
      return { progress: await rebuilds.start() }
    },

    async getRebuild() {
      return { progress: await rebuilds.progress() }
    },
  }
}
