import { setTimeout as delay } from 'node:timers/promises'
import { Argument, type Command } from 'commander'
import { createDapr } from '#lib/dapr.ts'
import { AppError } from '#lib/errors.ts'
import { SearchServiceService, type RebuildProgress } from '#protos/shop/search/v1/search.ts'
import { attachShop } from '../../platform/start/shop.ts'
import { currentInstance } from '../../platform/supervise/instance.ts'
import { createProgressBar } from '../terminal/progress-bar.ts'

/** Adds `rebuild search`. */
export function register(program: Command): void {
  program
    .command('rebuild')
    .description('build what follows from events anew, from where the events come from')
    .addArgument(new Argument('<what>', 'what to build').choices(['search']))
    .addHelpText(
      'after',
      '\nsearch: the index of products, from the catalogue. The shop goes on as usual; the new index\n' +
        'takes the place of the old one once it is complete. Called again, it shows a rebuild that runs.',
    )
    .action(rebuildSearch)
}

/**
 * Like `npm run user` it calls the service's own port with the token of its sidecar: no app may
 * start a rebuild.
 */
async function rebuildSearch(): Promise<void> {
  const shop = await attachShop(currentInstance().instance)
  const { app } = shop.ports.services.search
  const dapr = createDapr({ grpcPort: app, httpPort: app, apiToken: shop.secrets.services.search.appToken })
  const search = dapr.client(SearchServiceService, 'search')
  try {
    const started = await search.startRebuild({}).catch((error: unknown) => {
      if (error instanceof AppError && error.code === 'rebuild_running') return search.getRebuild({})
      throw error
    })
    const done = await watch(started.progress!, async () => (await search.getRebuild({})).progress!)
    if (done.state === 'failed') throw new Error(`The rebuild failed: ${done.error}. The old index is still in use.`)
    console.log(`Built from ${done.products} products in ${Math.round(done.seconds)} s.`)
  } finally {
    dapr.close()
  }
}

/** Shows a rebuild until it ends. */
async function watch(first: RebuildProgress, next: () => Promise<RebuildProgress>): Promise<RebuildProgress> {
  const bar = createProgressBar('products', Math.max(1, first.total), { done: first.products })
  let shown = first.products
  try {
    for (let progress = first; ; progress = await next()) {
      bar.step(progress.products - shown)
      shown = progress.products
      if (progress.state !== 'running') return progress
      await delay(500)
    }
  } finally {
    bar.close()
  }
}
