import { expect, it } from 'vitest'
import { schemasOfCrd, schemasOfOpenApi } from './schemas.ts'

it('refuses fields that a CRD does not declare, except where it says so', () => {
  const [[name, schema]] = schemasOfCrd({
    kind: 'CustomResourceDefinition',
    spec: {
      group: 'shop.example.org',
      names: { kind: 'Till' },
      versions: [
        {
          name: 'v1',
          served: true,
          schema: {
            openAPIV3Schema: {
              type: 'object',
              properties: {
                spec: {
                  description: 'dropped',
                  properties: {
                    port: { 'x-kubernetes-int-or-string': true },
                    note: { type: 'string', nullable: true },
                  },
                  anyOf: [{ properties: { port: { type: 'integer' } } }],
                },
                free: { properties: {}, 'x-kubernetes-preserve-unknown-fields': true },
              },
            },
          },
        },
      ],
    },
  }) as [[string, { properties: object }]]
  expect(name).toBe('till-shop-v1')
  expect(schema).toMatchObject({ additionalProperties: false })
  expect(schema.properties).toMatchObject({
    apiVersion: { type: 'string' },
    spec: {
      additionalProperties: false,
      properties: { port: { type: ['integer', 'string'] }, note: { type: ['string', 'null'] } },
      anyOf: [{ properties: { port: { type: 'integer' } } }],
    },
  })
  expect(JSON.stringify(schema)).not.toContain('dropped')
  expect(JSON.stringify(schema.properties)).toContain('"free":{"properties":{}}')
})

it('names schemas as kubeconform asks for them', () => {
  const kind = (group: string, kind: string) => ({ group, version: 'v1', kind })
  const schemas = schemasOfOpenApi({
    definitions: {
      Pod: { properties: {}, 'x-kubernetes-group-version-kind': [kind('', 'Pod')] },
      Role: { properties: {}, 'x-kubernetes-group-version-kind': [kind('rbac.authorization.k8s.io', 'Role')] },
      DeleteOptions: { 'x-kubernetes-group-version-kind': [kind('', 'DeleteOptions'), kind('apps', 'DeleteOptions')] },
    },
  })
  expect(schemas.map(([name]) => name)).toEqual(['definitions', 'pod-v1', 'role-rbac-v1'])
  expect(schemas[1]).toEqual(['pod-v1', { $ref: 'definitions.json#/definitions/Pod' }])
})
