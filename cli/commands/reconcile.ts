import { InvalidArgumentError, type Command } from 'commander'
import { createProgress } from '../../platform/progress.ts'
import { attachShop } from '../../platform/start/shop.ts'
import { currentInstance } from '../../platform/supervise/instance.ts'
import { addressesOf, audit, type Audit } from '../../reconcile/audit.ts'
import { kinds, type Kind } from '../../reconcile/rules.ts'

type Options = { json?: boolean; wait: number }

/** Adds `reconcile`. */
export function register(program: Command): void {
  program
    .command('reconcile')
    .description(
      `compare orders, payments, stock, the provider's ledger and the outboxes, straight from the
databases; exit code 1 if anything disagrees`,
    )
    .option('--json', 'print what was found as JSON')
    .option('--wait <seconds>', 'how long what is under way may take to be settled', seconds, 30)
    .addHelpText(
      'after',
      '\nA shop at work has differences that settle by themselves: only what stays is reported.\n' +
        'A shop that is busy all the time needs a longer --wait than its orders take.',
    )
    .action(runReconcile)
}

function seconds(text: string): number {
  if (!/^\d{1,5}$/.test(text)) throw new InvalidArgumentError('must be a whole number')
  return Number(text)
}

async function runReconcile({ json = false, wait }: Options): Promise<void> {
  const progress = createProgress()
  try {
    const shop = await attachShop(currentInstance().instance)
    const found = await progress.step({ title: 'Compare' }, (note) =>
      audit(addressesOf(shop), { settleMs: wait * 1_000, note }),
    )
    console.log(json ? JSON.stringify(found, undefined, 2) : describeAudit(found))
    if (found.findings.length > 0) process.exitCode = 1
  } finally {
    progress.close()
  }
}

/** Every disagreement, by kind, after what was compared. */
export function describeAudit({ findings, counts, orders }: Audit): string {
  const byKind = [...Map.groupBy(findings, ({ kind }) => kind)] as [Kind, Audit['findings']][]
  const statuses = Object.entries(orders).map(([status, count]) => `${count} ${status}`)
  return [
    `${counts.orders} orders (${statuses.join(', ') || 'none'}), ${counts.payments} payments, ` +
      `${counts.charges} charges at the provider, ${counts.reservations} reservations, ${counts.skus} SKUs`,
    ...byKind.flatMap(([kind, found]) => [
      `${kind}: ${kinds[kind]} (${found.length})`,
      ...found.map(({ what, detail }) => `  ${what}: ${detail}`),
    ]),
    findings.length === 0 ? 'all agree' : `${findings.length} disagreements`,
  ].join('\n')
}
