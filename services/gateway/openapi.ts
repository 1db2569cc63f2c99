import * as z from 'zod'
import {
  createDocument,
  type ZodOpenApiOperationObject,
  type ZodOpenApiPathsObject,
  type ZodOpenApiResponsesObject,
} from 'zod-openapi'
import type { Operation } from './operation.ts'
import { problemCodes, problemMediaType, problemSchema, type ProblemCode } from './problem.ts'

const alwaysPossible: ProblemCode[] = [
  'invalid_field',
  'unknown_field',
  'repeated_header',
  'too_many_requests',
  'internal',
  'unavailable',
  'timeout',
]

/** The OpenAPI 3.1 document of the API, from the schemas that validate its requests. */
export function openApiDocument(operations: Operation[]) {
  const paths: ZodOpenApiPathsObject = {}
  for (const operation of operations) (paths[operation.path] ??= {})[operation.method] = describe(operation)
  return createDocument({
    openapi: '3.1.0',
    info: {
      title: 'Sidecart',
      version: '1.0.0',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      description:
        'The shop. Errors are problem+json (RFC 9457) with a `code` for programs and, where fields are to blame, `errors` that name them. Lists answer `{items, next}`. Money is in minor units.',
    },
    servers: [{ url: '/' }],
    tags: [
      { name: 'Accounts', description: 'Register, log in, see who you are.' },
      { name: 'Catalogue', description: 'Categories and products: everybody reads, sellers and admins write.' },
      { name: 'Orders', description: 'Your own orders.' },
      { name: 'Stock', description: 'For sellers and admins.' },
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

function describe(o: Operation): ZodOpenApiOperationObject {
  const responses: ZodOpenApiResponsesObject = {}
  for (const [status, { description, schema, headers }] of Object.entries(o.responses)) {
    responses[status as '200'] = {
      description,
      content: { 'application/json': { schema } },
      headers: z.object(
        Object.fromEntries(
          Object.entries(headers ?? {}).map(([name, description]) => [name, z.string().meta({ description })]),
        ),
      ),
    }
  }
  const byStatus = Map.groupBy(codesOf(o), (code) => problemCodes[code].status)
  for (const [status, codes] of [...byStatus].toSorted(([a], [b]) => a - b)) {
    responses[String(status) as '400'] = {
      description: codes.map((code) => `\`${code}\`: ${problemCodes[code].title}`).join('\n\n'),
      content: {
        [problemMediaType]: {
          schema: problemSchema,
          examples: Object.fromEntries(codes.map((code) => [code, { value: exampleOf(code, o) }])),
        },
      },
    }
  }
  return {
    operationId: o.id,
    tags: [o.tag],
    summary: o.summary,
    ...(o.description ? { description: o.description } : {}),
    security: o.access === 'public' ? [] : o.access === 'optional' ? [{}, { bearer: [] }] : [{ bearer: [] }],
    requestParams: {
      ...(o.params ? { path: o.params } : {}),
      ...(o.query ? { query: o.query } : {}),
      ...(o.headers ? { header: o.headers } : {}),
    },
    ...(o.body
      ? {
          requestBody: {
            required: !o.body.safeParse(undefined).success,
            content: { 'application/json': { schema: o.body } },
          },
        }
      : {}),
    responses,
  }
}

function codesOf(o: Operation): ProblemCode[] {
  return [
    ...new Set<ProblemCode>([
      ...alwaysPossible,
      ...(o.access === 'public'
        ? []
        : o.access === 'optional'
          ? ['bad_token' as const]
          : ['unauthenticated' as const, 'bad_token' as const]),
      ...(o.access === 'staff' ? ['forbidden' as const] : []),
      ...(o.query ? ['repeated_parameter' as const] : []),
      ...(o.body ? ['bad_json' as const, 'body_too_large' as const, 'unsupported_media_type' as const] : []),
      ...(o.method === 'get' ? [] : ['conflict' as const]),
      ...(o.problems ?? []),
    ]),
  ]
}

function exampleOf(code: ProblemCode, o: Operation): z.infer<typeof problemSchema> {
  const { status, title, ...rest } = problemCodes[code]
  return {
    type: `/docs#problem-${code}`,
    title,
    status,
    detail: title,
    instance: o.path.replaceAll(/\{(\w+)\}/g, 'x'),
    code,
    traceId: '4bf92f3577b34da6a3ce929d0e0e4736',
    ...('field' in rest ? { errors: [{ field: rest.field, message: title }] } : {}),
  }
}
