// The OpenAPI document, held against every response that a test gets.
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'

// oxlint-disable-next-line typescript/no-explicit-any -- any OpenAPI document
type Json = Record<string, any>

/** What any request may be told: the HTTP itself is at fault, or the path. */
const ofHttp = [
  'bad_path',
  'bad_request',
  'headers_too_large',
  'method_not_allowed',
  'request_timeout',
  'route_not_found',
  'uri_too_long',
]

export type Contract = ReturnType<typeof createContract>

/** @param document an OpenAPI 3.1 document, whose schemas are JSON Schema 2020-12 */
export function createContract(document: Json) {
  const ajv = new Ajv2020({ strict: false, validateFormats: false }).addSchema(document, 'openapi')
  const validators = new Map<string, ValidateFunction>()
  const operations = Object.entries<Json>(document.paths)
    .map(([path, methods]) => ({
      path,
      methods,
      pattern: new RegExp(`^${path.replaceAll('.', '\\.').replaceAll(/\{\w+\}/g, '[^/]+')}$`),
    }))
    // `/v1/sessions/refresh` before `/v1/sessions/{sessionId}`.
    .toSorted((a, b) => Number(a.path.includes('{')) - Number(b.path.includes('{')))

  function validatorOf(pointer: string[]): ValidateFunction {
    const parts = pointer.map((part) => encodeURIComponent(part.replaceAll('~', '~0').replaceAll('/', '~1')))
    const ref = `openapi#/${parts.join('/')}`
    const validator = validators.get(ref) ?? ajv.compile({ $ref: ref })
    validators.set(ref, validator)
    return validator
  }

  /**
   * Returns what is wrong about a response: a status, an error code or a body that the document
   * does not have. Undefined: nothing, or it has no such operation.
   */
  return function problemOf(method: string, path: string, status: number, body: unknown): string | undefined {
    const pathname = path.replace(/[?#].*$/s, '')
    const found = operations.find(({ pattern }) => pattern.test(pathname))
    const operation: Json | undefined = found?.methods[method.toLowerCase()]
    if (!found || !operation) return undefined
    const what = `${method} ${found.path}: ${status}`
    const code = (body as { code?: string } | undefined)?.code
    if (status >= 400 && ofHttp.includes(code ?? '')) return undefined
    const response: Json | undefined = operation['responses'][status]
    if (!response) return `${what} ${code ?? ''} is not documented`
    const [mediaType, content] = Object.entries<Json>(response['content'] ?? {})[0] ?? []
    if (mediaType === undefined) return undefined
    const codes = Object.keys(content?.['examples'] ?? {})
    if (status >= 400 && !codes.includes(code ?? '')) return `${what}: code ${code} is not documented`
    const pointer = [
      'paths',
      found.path,
      method.toLowerCase(),
      'responses',
      `${status}`,
      'content',
      mediaType,
      'schema',
    ]
    const validate = validatorOf(pointer)
    return validate(body) ? undefined : `${what}: ${ajv.errorsText(validate.errors)}: ${JSON.stringify(body)}`
  }
}
