// Shows /openapi.json with a form to try each operation. All text is set as text nodes, so nothing
// that the API returns becomes markup.

const session = { accessToken: undefined }
const $ = (id) => document.getElementById(id)

/** Creates an element with properties (attributes where no such property exists) and children. */
function h(tag, props = {}, ...children) {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(props)) {
    if (name in element && name !== 'list') element[name] = value
    else element.setAttribute(name, value)
  }
  element.append(...children.filter((child) => child !== undefined && child !== null))
  return element
}

const api = await (await fetch('/openapi.json')).json()
$('about').textContent = api.info.description

const resolve = (schema) =>
  schema?.$ref
    ? resolve(
        schema.$ref
          .split('/')
          .slice(1)
          .reduce((at, key) => at[key], api),
      )
    : (schema ?? {})

/** Returns an example of a schema, assembled from the examples of its parts. */
function example(schema) {
  const s = resolve(schema)
  if (s.examples?.length) return s.examples[0]
  if (s.default !== undefined) return s.default
  if (s.enum) return s.enum[0]
  if (s.anyOf ?? s.oneOf) return example((s.anyOf ?? s.oneOf)[0])
  if (s.type === 'object')
    return Object.fromEntries(Object.entries(s.properties ?? {}).map(([name, part]) => [name, example(part)]))
  if (s.type === 'array') return s.items ? [example(s.items)] : []
  return { string: 'text', integer: 1, number: 1, boolean: true }[s.type] ?? null
}

function describeOperation(path, method, operation) {
  const parameters = operation.parameters ?? []
  const body = operation.requestBody?.content['application/json'].schema
  const result = h('pre', { hidden: true })
  const form = h(
    'form',
    {},
    ...parameters.map((p) =>
      h(
        'label',
        { title: p.description ?? '' },
        `${p.name} (${p.in}${p.required ? ', required' : ''})`,
        h('input', { name: `${p.in}.${p.name}`, required: Boolean(p.required), value: initialValue(p) }),
      ),
    ),
    body &&
      h(
        'label',
        { className: 'wide' },
        'body',
        h('textarea', { name: 'body', spellcheck: false, value: JSON.stringify(example(body), null, 2) }),
      ),
    h('button', {}, 'Send'),
  )
  form.addEventListener('submit', (event) => {
    event.preventDefault()
    send(path, method, parameters, new FormData(form), result)
  })
  const responses = Object.entries(operation.responses).map(([status, { description, content }]) =>
    h(
      'tr',
      {},
      h('td', {}, h('code', {}, status)),
      h(
        'td',
        {},
        h('div', {}, description),
        status < 300 ? h('pre', {}, JSON.stringify(example(Object.values(content)[0].schema), null, 2)) : undefined,
      ),
    ),
  )
  return h(
    'details',
    { id: operation.operationId },
    h(
      'summary',
      {},
      h('span', { className: `method ${method}` }, method),
      h('span', { className: 'path' }, path),
      ' ',
      h('span', { className: 'summary' }, operation.summary),
    ),
    h(
      'div',
      {},
      operation.description && h('p', {}, operation.description),
      h('p', { className: 'hint' }, tokenHint(operation.security)),
      form,
      result,
      h('table', {}, h('tbody', {}, ...responses)),
    ),
  )
}

/** `security` is as in OpenAPI: an empty entry means that the operation works without a token. */
function tokenHint(security) {
  if (security.length === 0) return 'No access token required.'
  return security.some((entry) => Object.keys(entry).length === 0)
    ? 'An access token is optional: log in above.'
    : 'Requires an access token: log in above.'
}

const initialValue = (p) =>
  p.name === 'Idempotency-Key' ? crypto.randomUUID() : p.required ? String(example(p.schema)) : ''

async function send(path, method, parameters, form, result) {
  const headers = session.accessToken ? { authorization: `Bearer ${session.accessToken}` } : {}
  const query = new URLSearchParams()
  let target = path
  for (const p of parameters) {
    const value = form.get(`${p.in}.${p.name}`)
    if (value === '') continue
    if (p.in === 'path') target = target.replace(`{${p.name}}`, encodeURIComponent(value))
    else if (p.in === 'query') query.set(p.name, value)
    else headers[p.name] = value
  }
  const body = form.get('body')
  if (body) headers['content-type'] = 'application/json'
  result.hidden = false
  result.textContent = '…'
  try {
    const response = await fetch(target + (query.size ? `?${query}` : ''), {
      method: method.toUpperCase(),
      headers,
      body: body || undefined,
    })
    const text = await response.text()
    const headerLines = ['location', 'traceparent', 'x-request-id', 'etag', 'retry-after']
      .filter((name) => response.headers.has(name))
      .map((name) => `${name}: ${response.headers.get(name)}`)
    result.textContent = [`${response.status} ${response.statusText}`, ...headerLines, '', pretty(text)].join('\n')
    result.scrollIntoView({ block: 'nearest' })
  } catch (error) {
    result.textContent = String(error)
  }
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2)
  } catch {
    return text
  }
}

$('login').addEventListener('submit', async (event) => {
  event.preventDefault()
  const response = await fetch('/v1/sessions', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(Object.fromEntries(new FormData($('login')))),
  })
  const answer = await response.json()
  session.accessToken = answer.accessToken
  $('who').textContent = response.ok ? 'logged in' : answer.detail
})

const operations = Object.entries(api.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
)
$('operations').replaceChildren(
  ...api.tags.flatMap(({ name }) => [
    h('h2', {}, name),
    ...operations
      .filter(({ operation }) => operation.tags.includes(name))
      .map(({ path, method, operation }) => describeOperation(path, method, operation)),
  ]),
)
$('codes').append(
  ...Object.entries(api['x-problem-codes']).map(([code, { status, title }]) =>
    h(
      'tr',
      { id: `problem-${code}` },
      h('td', {}, h('code', {}, code)),
      h('td', {}, String(status)),
      h('td', {}, title),
    ),
  ),
)
// The URL's fragment may name a code or an operation, which did not exist when the page opened.
if (location.hash) {
  const target = document.getElementById(location.hash.slice(1))
  if (target?.tagName === 'DETAILS') target.open = true
  target?.scrollIntoView()
}
