// Kubernetes resources as values.
import { isMap, parseAllDocuments } from 'yaml'

export type Resource = {
  apiVersion: string
  kind: string
  metadata: { name: string; namespace?: string; annotations?: Record<string, string>; labels?: Record<string, string> }
  spec?: { template?: { metadata?: { annotations?: Record<string, string> } } }
}

/** Returns the resources of a YAML text; empty documents are left out. */
export function parseResources(yaml: string): Resource[] {
  return parseAllDocuments(yaml)
    .filter(({ contents }) => isMap(contents))
    .map((document) => document.toJS() as Resource)
}

/** Returns resources as one text for `kubectl apply`. */
export function listOf(items: readonly object[]): string {
  return JSON.stringify({ apiVersion: 'v1', kind: 'List', items })
}

/**
 * Splits a shop into what runs without Dapr (its servers, and the Job that sets them up), and what
 * needs it: sidecars, and the resources that Dapr's operator checks.
 */
export function splitByDapr(resources: readonly Resource[]): { first: Resource[]; rest: Resource[] } {
  const needsDapr = ({ apiVersion, spec }: Resource) =>
    apiVersion.startsWith('dapr.io/') || spec?.template?.metadata?.annotations?.['dapr.io/enabled'] === 'true'
  return {
    first: resources.filter((resource) => !needsDapr(resource)),
    rest: resources.filter(needsDapr),
  }
}
