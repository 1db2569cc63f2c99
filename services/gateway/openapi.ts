import * as z from 'zod'
import {
  createDocument,
  type ZodOpenApiOperationObject,
  type ZodOpenApiParameterObject,
  type ZodOpenApiPathsObject,
  type ZodOpenApiResponsesObject,
} from 'zod-openapi'
import type { Express, RequestHandler } from 'express'
import { allowOnlyGet } from './http/error-handlers.ts'
import { setRoute } from './http/observability.ts'
import { replayedHeader } from './http/idempotency.ts'
import { linesMediaType } from './http/body-lines.ts'
import type { MoreQuery, Operation } from './http/operation.ts'
import { problemCodes, problemMediaType, problemSchema, type ProblemCode } from './http/problem.ts'

const alwaysPossible: ProblemCode[] = [
  'invalid_field',
  'unknown_field',
  'repeated_header',
  'too_many_requests',
  'internal',
  'unavailable',
  'timeout',
]

/** Adds /openapi.json. */
export function addOpenApi(app: Express, operations: Operation[], rateLimit: RequestHandler): void {
  const path = '/openapi.json'
  const document = openApiDocument(operations)
  app.get(path, setRoute(path), rateLimit, (_req, res) => void res.set('Cache-Control', 'no-cache').json(document))
  allowOnlyGet(app, path)
}

/** Returns the OpenAPI 3.1 document, made from the schemas that validate the requests. */
function openApiDocument(operations: Operation[]) {
  const paths: ZodOpenApiPathsObject = {}
  for (const operation of operations) (paths[operation.path] ??= {})[operation.method] = describe(operation)
  return createDocument({
    openapi: '3.1.0',
    info: {
      title: 'Sidecart',
      version: '1.0.0',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      description:
        'The shop. Errors are problem+json (RFC 9457) with a stable `code`, and `errors` naming the invalid fields. ' +
        'Lists return `{items, next}`. Money is in minor units.',
    },
    servers: [{ url: '/' }],
    tags: [
      { name: 'Accounts', description: 'Register, log in, read your account.' },
      { name: 'Catalogue', description: 'Categories and products: everyone reads, sellers and admins write.' },
      { name: 'Orders', description: 'Your own orders.' },
      { name: 'Stock', description: 'For sellers and admins only.' },
    ],
    paths,
    components: {
      schemas: { Problem: problemSchema },
      securitySchemes: {
        bearer: {
          type: 'http',
          scheme: 'bearer',
          bearerFormat: 'JWT',
          description: 'The accessToken of POST /v1/sessions.',
        },
      },
    },
    'x-problem-codes': problemCodes,
  })
}

const takesKey = ({ headers }: Operation) => headers !== undefined && 'Idempotency-Key' in headers.shape

function describe(operation: Operation): ZodOpenApiOperationObject {
  const responses: ZodOpenApiResponsesObject = {}
  for (const [status, response] of Object.entries(operation.responses)) {
    const { description, schema, mediaType = 'application/json', headers: own } = response
    const headers = {
      ...own,
      ...(takesKey(operation)
        ? { [replayedHeader]: '`true`: an earlier request with the same Idempotency-Key made the change' }
        : {}),
    }
    responses[status as '200'] = {
      description,
      ...(schema ? { content: { [mediaType]: { schema } } } : {}),
      headers: z.object(
        Object.fromEntries(
          Object.entries(headers).map(([name, description]) => [name, z.string().meta({ description })]),
        ),
      ),
    }
  }
  const byStatus = Map.groupBy(codesOf(operation), (code) => problemCodes[code].status)
  for (const [status, codes] of [...byStatus].toSorted(([a], [b]) => a - b)) {
    responses[String(status) as '400'] = {
      description: codes.map((code) => `\`${code}\`: ${problemCodes[code].title}`).join('\n\n'),
      content: {
        [problemMediaType]: {
          schema: problemSchema,
          examples: Object.fromEntries(codes.map((code) => [code, { value: exampleOf(code, operation) }])),
        },
      },
    }
  }
  return {
    operationId: operation.id,
    tags: [operation.tag],
    summary: operation.summary,
    ...(operation.description ? { description: operation.description } : {}),
    security:
      operation.access === 'public' ? [] : operation.access === 'optional' ? [{}, { bearer: [] }] : [{ bearer: [] }],
    requestParams: {
      ...(operation.params ? { path: operation.params } : {}),
      ...(operation.query ? { query: operation.query } : {}),
      ...(operation.headers ? { header: operation.headers } : {}),
    },
    ...(operation.moreQuery ? { parameters: [parameterOf(operation.moreQuery)] } : {}),
    ...(operation.body
      ? {
          requestBody: {
            required: !operation.body.safeParse(undefined).success,
            content: { 'application/json': { schema: operation.body } },
          },
        }
      : {}),
    ...(operation.lines
      ? { requestBody: { required: true, content: { [linesMediaType]: { schema: operation.lines } } } }
      : {}),
    responses,
  }
}

/**
 * One parameter that stands for many: an exploded object (OpenAPI 3.1, style `form`) has each of
 * its properties as a parameter of its own.
 */
const parameterOf = ({ prefix, description, example }: MoreQuery): ZodOpenApiParameterObject => ({
  name: `${prefix}*`,
  in: 'query',
  style: 'form',
  explode: true,
  description,
  schema: {
    type: 'object',
    patternProperties: { [`^${prefix.replaceAll('.', '\\.')}`]: { type: 'string' } },
    additionalProperties: false,
    examples: [example],
  },
})

function codesOf(operation: Operation): ProblemCode[] {
  return [
    ...new Set<ProblemCode>([
      ...alwaysPossible,
      ...(operation.access === 'public'
        ? []
        : operation.access === 'optional'
          ? ['bad_token' as const]
          : ['unauthenticated' as const, 'bad_token' as const]),
      ...(operation.access === 'staff' || operation.access === 'admin' ? ['forbidden' as const] : []),
      ...(operation.query ? ['repeated_parameter' as const] : []),
      ...(operation.body || operation.lines
        ? ['bad_json' as const, 'body_too_large' as const, 'unsupported_media_type' as const]
        : []),
      ...(operation.method === 'get' ? [] : ['conflict' as const, 'commit_unknown' as const]),
      ...(takesKey(operation) ? ['request_in_progress' as const, 'idempotency_key_reused' as const] : []),
      ...(operation.problems ?? []),
    ]),
  ]
}

function exampleOf(code: ProblemCode, operation: Operation): z.infer<typeof problemSchema> {
  const { status, title, ...rest } = problemCodes[code]
  return {
    type: `/docs#problem-${code}`,
    title,
    status,
    detail: title,
    instance: operation.path.replaceAll(/\{(\w+)\}/g, 'x'),
    code,
    traceId: '4bf92f3577b34da6a3ce929d0e0e4736',
    ...('field' in rest ? { errors: [{ field: rest.field, message: title }] } : {}),
  }
}
