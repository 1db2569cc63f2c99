// What each linter reports, in one form.
export type Finding = {
  linter: 'kubeconform' | 'kube-score' | 'checkov' | 'actionlint' | 'kustomize'
  /** The build or the file. */
  where: string
  /** "Deployment/orders", or a line of a file. */
  resource: string
  rule: string
  message: string
}

type KubeconformOutput = {
  resources?: { filename: string; kind: string; name: string; status: string; msg: string }[]
}

/** The build is the name of the file that was checked. */
const buildOf = (file: string) => file.replace(/^.*\/|\.yaml$/g, '')

export function findingsOfKubeconform(json: string): Finding[] {
  const { resources } = JSON.parse(json) as KubeconformOutput
  return (resources ?? [])
    .filter(({ status }) => status !== 'statusValid' && status !== 'statusSkipped')
    .map(({ filename, kind, name, status, msg }) => ({
      linter: 'kubeconform',
      where: buildOf(filename),
      resource: `${kind}/${name}`,
      rule: status === 'statusInvalid' ? 'invalid' : 'error',
      message: msg,
    }))
}

type KubeScoreOutput = {
  type_meta: { kind: string }
  object_meta: { name: string }
  checks: {
    check: { id: string }
    grade: number
    skipped: boolean
    comments: { path: string; summary: string }[] | null
  }[]
}[]

/** 1 is "critical", 5 "warning", 7 "almost OK", 10 "OK". */
const gradeOfWarning = 5

export function findingsOfKubeScore(json: string): Omit<Finding, 'where'>[] {
  const objects = (JSON.parse(json) ?? []) as KubeScoreOutput
  return objects.flatMap(({ type_meta, object_meta, checks }) =>
    checks
      .filter(({ grade, skipped }) => !skipped && grade <= gradeOfWarning)
      .map(({ check, comments }) => ({
        linter: 'kube-score' as const,
        resource: `${type_meta.kind}/${object_meta.name}`,
        rule: check.id,
        message: (comments ?? []).map(({ path, summary }) => [path, summary].filter(Boolean).join(': ')).join('; '),
      })),
  )
}

type CheckovOutput = {
  resource_count?: number
  results?: {
    failed_checks: { check_id: string; check_name: string; resource: string; file_path: string }[]
    parsing_errors?: string[]
  }
}

/** @throws Error when checkov looked at nothing, which it does not report itself */
export function findingsOfCheckov(json: string): Finding[] {
  const outputs = [JSON.parse(json) as CheckovOutput | CheckovOutput[]].flat()
  if (outputs.some(({ resource_count }) => resource_count === 0)) throw new Error('checkov found no resources')
  return outputs.flatMap(({ results }) => [
    ...(results?.failed_checks ?? []).map(({ check_id, check_name, resource, file_path }): Finding => ({
      linter: 'checkov',
      where: buildOf(file_path),
      resource,
      rule: check_id,
      message: check_name,
    })),
    ...(results?.parsing_errors ?? []).map((file): Finding => ({
      linter: 'checkov',
      where: file,
      resource: '',
      rule: 'parse',
      message: 'cannot be parsed',
    })),
  ])
}

type ActionlintOutput = { filepath: string; line: number; kind: string; message: string }[]

export function findingsOfActionlint(json: string): Finding[] {
  return ((JSON.parse(json || '[]') ?? []) as ActionlintOutput).map(({ filepath, line, kind, message }) => ({
    linter: 'actionlint',
    where: filepath,
    resource: `line ${line}`,
    rule: kind,
    message,
  }))
}

/**
 * One line for each different finding: one that many builds share names the first of them and how
 * many more there are.
 */
export function describeFindings(findings: Finding[]): string[] {
  const places = new Map<string, string[]>()
  for (const { linter, where, resource, rule, message } of findings) {
    const what = `${resource} ${linter}/${rule}${message ? `: ${message}` : ''}`
    places.set(what, [...(places.get(what) ?? []), where])
  }
  return [...places].map(([what, where]) => {
    const builds = [...new Set(where)]
    return `${builds[0]}${builds.length > 1 ? ` (and ${builds.length - 1} more)` : ''}: ${what}`
  })
}
