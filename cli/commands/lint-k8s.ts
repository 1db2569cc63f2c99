import type { Command } from 'commander'

export function register(program: Command): void {
  program
    .command('lint:k8s')
    .description('build every overlay of k8s/ with each component and check the YAML, and the workflows')
    .addHelpText(
      'after',
      `
Needs no cluster. Runs kustomize, kubeconform, kube-score and actionlint, which are built with Go, and
checkov, which is installed with Python, all into the cache.`,
    )
    .action(lintK8s)
}

/** Prints each finding; exit code 1 if there are any. */
async function lintK8s(): Promise<void> {
  const { createProgress } = await import('../../platform/progress.ts')
  const { describeFindings } = await import('../../k8s/lint/findings.ts')
  const { lintKubernetes } = await import('../../k8s/lint/lint.ts')
  const progress = createProgress()
  const { builds, findings, leftOut } = await lintKubernetes(progress)
  progress.close()
  for (const reason of leftOut) console.log(`Left out: ${reason}`)
  for (const line of describeFindings(findings)) console.log(line)
  console.log(findings.length === 0 ? `No findings in ${builds} builds.` : `${findings.length} findings.`)
  if (findings.length > 0) process.exitCode = 1
}
