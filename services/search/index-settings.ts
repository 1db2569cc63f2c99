import { attributeFieldCount } from './attribute-fields.ts'

// The index of products: one document each, with a field for each way to find it.

const keyword = { type: 'keyword' }
/** Only sorted and filtered by; never counted. */
const number = { type: 'long' }

/** Body of PUT /<index>. */
export const indexSettings = {
  settings: {
    number_of_shards: 1,
    // As soon as there is a second node, it has a copy.
    auto_expand_replicas: '0-1',
    // A change must be found within 2 s (docs/catalogue.md), of which events take some 0.5 s.
    refresh_interval: '500ms',
    // How long the index remembers the version of a product that it no longer has: for so long, an
    // event that comes late cannot bring it back.
    'index.gc_deletes': '1h',
    // A list of the newest ends after the first hits.
    'index.sort.field': ['created', 'id'],
    'index.sort.order': ['desc', 'asc'],
    'index.max_result_window': 1_000,
    'index.mapping.total_fields.limit': 200,
    analysis: {
      filter: { plurals: { type: 'stemmer', language: 'minimal_english' } },
      analyzer: {
        // Korean, Chinese and Japanese as pairs of characters, all else as words in the singular.
        words: {
          tokenizer: 'standard',
          filter: ['cjk_width', 'lowercase', 'asciifolding', 'cjk_bigram', 'plurals'],
        },
        // For text that is folded already (folding.ts).
        letters: { tokenizer: 'standard', filter: [] },
      },
    },
  },
  mappings: {
    dynamic: false,
    // Hits are shown from it; every other field is only searched.
    _source: { includes: ['json', 'title', 'handle'] },
    properties: {
      id: keyword,
      created: number,
      price: number,
      popularity: number,
      name: keyword,
      inStock: { type: 'boolean' },
      vendor: keyword,
      categories: keyword,
      ...Object.fromEntries(Array.from({ length: attributeFieldCount }, (_, n) => [`a${n}`, keyword])),
      title: { type: 'text', analyzer: 'words', index_options: 'freqs' },
      words: { type: 'text', analyzer: 'words', index_options: 'freqs', norms: false },
      letters: { type: 'text', analyzer: 'letters', index_options: 'freqs', norms: false },
      completion: { type: 'search_as_you_type', analyzer: 'letters', max_shingle_size: 2 },
    },
  },
}
