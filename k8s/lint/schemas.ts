// JSON schemas for kubeconform, strict: a field that Kubernetes or a CRD does not know is an error.
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseAllDocuments } from 'yaml'
import { ensureCrds } from '../../platform/cluster/crds.ts'
import { kubernetesVersion } from '../../platform/cluster/parts.ts'
import { cacheFolder } from '../../platform/parts/cache.ts'
import { buildOnce } from '../../platform/parts/ensure.ts'
import { copiedFromGo } from '../../platform/parts/recipes.ts'
import type { Progress } from '../../platform/progress.ts'

export type Schema = { [key: string]: unknown }

export type CustomResourceDefinition = {
  kind: string
  spec: {
    group: string
    names: { kind: string }
    versions: { name: string; served: boolean; schema?: { openAPIV3Schema: Schema } }[]
  }
}

type OpenApi = { definitions: Record<string, Schema> }
type GroupVersionKind = { group: string; version: string; kind: string }

/**
 * Makes the schemas of Kubernetes and of the CRDs unless they are cached.
 * @returns a template of their files' names for kubeconform's `-schema-location`
 * @throws Error when a module cannot be had
 */
export async function ensureSchemas(progress: Progress): Promise<string> {
  const crds = await ensureCrds(progress)
  const from = [...crds.map(({ folder }) => folder), readFileSync(import.meta.filename, 'utf8')]
  const cacheKey = `schemas-${kubernetesVersion}-${createHash('sha256').update(from.join()).digest('hex').slice(0, 8)}`
  const folder = join(cacheFolder(), cacheKey)
  if (!existsSync(folder)) {
    const download = copiedFromGo('k8s.io/kubernetes', `v${kubernetesVersion}`, {
      'api/openapi-spec/swagger.json': 'swagger.json',
    })
    const recipe = async (target: string, log: string) => {
      await download(target, log)
      const openApi = JSON.parse(readFileSync(join(target, 'swagger.json'), 'utf8')) as OpenApi
      const definitions = crds
        .flatMap(({ files }) => files)
        .flatMap((file) => parseAllDocuments(readFileSync(file, 'utf8')))
        .map((document) => document.toJS() as CustomResourceDefinition)
      for (const [name, schema] of [...schemasOfOpenApi(openApi), ...definitions.flatMap(schemasOfCrd)])
        writeFileSync(join(target, `${name}.json`), JSON.stringify(schema))
    }
    await buildOnce({ title: 'Schemas of Kubernetes', cacheKey, recipe, usualSeconds: 15 }, progress)
  }
  return join(folder, '{{ .ResourceKind }}{{ .KindSuffix }}.json')
}

/** The name under which kubeconform looks for a kind's schema. */
function schemaName({ group, version, kind }: GroupVersionKind): string {
  const [shortGroup = ''] = group.split('.')
  return [kind.toLowerCase(), ...(shortGroup ? [shortGroup] : []), version].join('-').toLowerCase()
}

/** One schema for each kind, and `definitions`, to which they refer. */
export function schemasOfOpenApi(openApi: OpenApi): [name: string, schema: Schema][] {
  const kinds = Object.entries(openApi.definitions).flatMap(([id, definition]) =>
    ((definition['x-kubernetes-group-version-kind'] ?? []) as GroupVersionKind[])
      // Types such as DeleteOptions are listed under every group: they are no resources.
      .filter((_, __, all) => all.length === 1)
      .map((gvk): [string, Schema] => [
        schemaName(gvk),
        {
          $ref: `definitions.json#/definitions/${id}`,
        },
      ]),
  )
  const definitions = Object.fromEntries(
    Object.entries(openApi.definitions).map(([id, definition]) => [id, strict(definition)]),
  )
  return [['definitions', { definitions }], ...kinds]
}

/** A schema for each version of a CRD. */
export function schemasOfCrd(crd: CustomResourceDefinition): [name: string, schema: Schema][] {
  if (crd.kind !== 'CustomResourceDefinition') return []
  const { group, names, versions } = crd.spec
  return versions
    .filter(({ served, schema }) => served && schema !== undefined)
    .map(({ name, schema }) => [
      schemaName({ group, version: name, kind: names.kind }),
      strict(withTypeMeta(schema!.openAPIV3Schema)),
    ])
}

/** Every resource has these three, whether its CRD names them or not. */
function withTypeMeta(schema: Schema): Schema {
  const own = (schema['properties'] ?? {}) as Schema
  return {
    ...schema,
    properties: {
      apiVersion: { type: 'string' },
      kind: { type: 'string' },
      ...own,
      metadata: { $ref: 'definitions.json#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta' },
    },
  }
}

/** What kubeconform does not need: texts for people, and formats that JSON schema does not know. */
const dropped = (key: string) => key === 'description' || key === 'format' || key.startsWith('x-kubernetes')

/**
 * Turns OpenAPI as Kubernetes writes it into JSON schema that refuses undeclared fields.
 * @param closed false inside anyOf and the like, which only add conditions to declared fields
 */
function strict(schema: Schema, closed = true): Schema {
  const nullable = schema['nullable'] === true
  const orNull = (...types: string[]) => ({ type: nullable ? [...types, 'null'] : types })
  if (schema['x-kubernetes-int-or-string'] || schema['format'] === 'int-or-string') return orNull('integer', 'string')
  // `cpu: 1` is a valid quantity.
  if (String(schema['description']).startsWith('Quantity is a fixed-point')) return orNull('string', 'number')
  const out: Schema = {}
  for (const [key, value] of Object.entries(schema)) {
    if (dropped(key) || key === 'nullable') continue
    if (key === 'properties')
      out[key] = Object.fromEntries(
        Object.entries(value as Record<string, Schema>).map(([name, property]) => [name, strict(property, closed)]),
      )
    else if (key === '$ref') out[key] = String(value).replace(/^#/, 'definitions.json#')
    else if (key === 'items' || key === 'additionalProperties')
      out[key] = typeof value === 'object' ? strict(value as Schema, closed) : value
    else if (key === 'anyOf' || key === 'oneOf' || key === 'allOf')
      out[key] = (value as Schema[]).map((part) => strict(part, false))
    else if (key === 'not') out[key] = strict(value as Schema, false)
    else out[key] = value
  }
  const open = 'additionalProperties' in out || schema['x-kubernetes-preserve-unknown-fields'] === true
  if (closed && 'properties' in out && !open) out['additionalProperties'] = false
  return nullable && typeof out['type'] === 'string' ? { ...out, ...orNull(out['type']) } : out
}
