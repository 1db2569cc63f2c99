import type { Command } from 'commander'
import type { Progress } from '../../platform/progress.ts'

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
    .action(async () => {
      const { createProgress } = await import('../../platform/progress.ts')
      const progress = createProgress()
      await checkKubernetes(progress).finally(() => progress.close())
    })
}

/**
 * Runs the linters of k8s/ and .github/workflows.
 * @throws Error with one line for each finding
 */
export async function checkKubernetes(progress: Progress): Promise<void> {
  const { describeFindings } = await import('../../k8s/lint/findings.ts')
  const { lintKubernetes } = await import('../../k8s/lint/lint.ts')
  const { builds, findings, leftOut } = await lintKubernetes(progress)
  for (const reason of leftOut) console.log(`Left out: ${reason}`)
  if (findings.length > 0) throw new Error(`Lint Kubernetes failed:\n${describeFindings(findings).join('\n')}`)
  console.log(`No findings in ${builds} builds of k8s/overlays, nor in the workflows.`)
}
