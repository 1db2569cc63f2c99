// `npm run bench -- catalogue`: how fast products are read, written and found, at several sizes of
// the catalogue, and at what cost.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { Kafka, logLevel } from 'kafkajs'
import { ensureDemoLogin } from '../platform/accounts.ts'
import { findPart } from '../platform/parts/find.ts'
import { ensureOptionalPart } from '../platform/parts/ensure.ts'
import { poll } from '../platform/poll.ts'
import { root } from '../platform/processes/paths.ts'
import { createProgress, duration, type Progress } from '../platform/progress.ts'
import { attachShop, type Shop } from '../platform/start/shop.ts'
import { currentInstance } from '../platform/supervise/instance.ts'
import { statuses } from '../platform/supervise/status.ts'
import { createShopApi, type ShopApi } from '../platform/testing/shop-api.ts'
import { bareCalls } from './bare-calls.ts'
import { plotCatalogue } from './catalogue-plot.ts'
import { catalogueReads } from './catalogue-reads.ts'
import { catalogueMarkdown, judgeCatalogue } from './catalogue-report.ts'
import type { CatalogueReport, Read, Size } from './catalogue-result.ts'
import { closedLoop, type Rate } from './load.ts'
import { describeMachine, describeVersions } from './machine.ts'
import { number } from './outbox-report.ts'
import { startOwnShop } from './own-shop.ts'
import { watchCpu } from './process-cpu.ts'
import { serveStaticFile } from './static-file.ts'
import { wrk } from './wrk.ts'
import { writeResults } from './write-results.ts'

type Options = { quick?: boolean; running?: boolean; products?: number[]; seed?: number; write?: boolean }

const callers = 16
const edgeConnections = 64
/** Pages of the load of the edge; a hundredth of them gets 99% of the requests. */
const edgePages = 2_000

/**
 * Seeds to each size in turn, measures, prints the report and writes
 * bench/results/catalogue.{json,md,svg}.
 * @param options.quick two small sizes and short loads; shows whether something broke
 * @param options.running use the shop that PORT_BASE names, which runs already; what it has stays
 * @param options.products the sizes, ascending
 */
export async function benchCatalogue(options: Options): Promise<void> {
  const { quick = false, running = false, seed = 1, write = true } = options
  const sizes = options.products ?? (quick ? [500, 2_000] : [10_000, 100_000, 1_000_000])
  const ms = quick ? 2_000 : 10_000
  const began = Date.now()
  const progress = createProgress()
  const closers: (() => unknown)[] = []
  const close = async () => {
    for (const closer of closers.splice(0).toReversed()) await closer()
  }
  const interrupted = (signal: NodeJS.Signals) =>
    void close().finally(() => process.exit(signal === 'SIGINT' ? 130 : 143))
  process.once('SIGINT', interrupted).once('SIGTERM', interrupted)
  try {
    let shop = running ? await attachShop(currentInstance().instance) : await startOwn(progress, true)
    if (!running) closers.push(() => shop.stop())
    const found = await ensureOptionalPart('wrk', progress)
    const loader = found !== undefined && 'path' in found ? found.path : undefined
    const reportOf = (sizes: Size[]): CatalogueReport => ({
      date: new Date().toISOString(),
      quick,
      seconds: Math.round((Date.now() - began) / 1_000),
      machine: describeMachine(),
      versions: describeVersions(),
      sizes,
      targets: judgeCatalogue(sizes),
    })
    const save = (report: CatalogueReport) => {
      if (write) writeResults('catalogue', report, { markdown: catalogueMarkdown(report), svg: plotCatalogue(report) })
    }
    const measured: Size[] = []
    let there = 0
    for (const products of sizes) {
      const seeded = await seedTo(shop, { seed, from: there, products }, progress)
      there = products
      const size = {
        products,
        seed: seeded,
        ...(await measure(shop, { products, ms, loader }, progress, closers)),
      }
      if (running || products !== sizes.at(-1)) {
        measured.push(size)
        // A million takes half an hour: what was measured before stays if it is interrupted.
        save(reportOf(measured))
      } else {
        await shop.stop()
        const from = Date.now()
        shop = await startOwn(progress, false)
        measured.push({ ...size, startSeconds: (Date.now() - from) / 1_000 })
      }
    }
    await close()
    const report = reportOf(measured)
    save(report)
    console.log(catalogueMarkdown(report))
  } finally {
    await close()
    progress.close()
    process.off('SIGINT', interrupted).off('SIGTERM', interrupted)
  }
  console.error(`${duration(Date.now() - began)}${write ? '; wrote bench/results/catalogue.{json,md,svg}' : ''}`)
}

const startOwn = (progress: Progress, fresh: boolean): Promise<Shop> =>
  startOwnShop('bench-catalogue', progress, { fresh })

const processesOf = async (shop: Shop) => (await statuses(shop.paths)).filter(({ pid }) => pid > 0)

/** Adds products with `npm run seed`, and waits until they are found. */
async function seedTo(
  shop: Shop,
  { seed, from, products }: { seed: number; from: number; products: number },
  progress: Progress,
): Promise<Size['seed']> {
  return progress.step({ title: `seed ${products.toLocaleString('en')} products` }, async (note) => {
    const { admin } = await ensureDemoLogin(shop)
    const cpu = watchCpu(await processesOf(shop))
    const began = performance.now()
    const args = [
      'seed',
      '--products',
      String(products),
      '--from',
      String(from),
      '--users',
      '0',
      '--seed',
      String(seed),
    ]
    const child = spawn(process.execPath, [join(root, 'cli', 'run.js'), ...args], {
      stdio: ['ignore', 'ignore', 'inherit'],
      env: {
        ...process.env,
        SIDECART_API: `http://127.0.0.1:${shop.ports.api}`,
        SIDECART_EMAIL: admin.email,
        SIDECART_PASSWORD: admin.password,
      },
    })
    const [code] = (await once(child, 'exit')) as [number | null]
    if (code !== 0) throw new Error(`npm run seed ended with exit code ${code}`)
    const seconds = (performance.now() - began) / 1_000
    const added = products - from
    const indexed = performance.now()
    await caughtUp(shop)
    const indexedAfterSeconds = (performance.now() - indexed) / 1_000
    note(`${number(added / seconds)}/s, found ${number(indexedAfterSeconds)} s later`)
    const perProduct = cpu().map(({ name, seconds }) => ({ name, milliseconds: (1_000 * seconds) / added }))
    return { added, seconds, perSecond: added / seconds, indexedAfterSeconds, cpu: perProduct }
  })
}

/** Waits until catalog and search have handled every event that there is. */
async function caughtUp(shop: Shop): Promise<void> {
  const kafka = new Kafka({ brokers: shop.urls.kafkaBrokers.split(','), logLevel: logLevel.NOTHING })
  const admin = kafka.admin()
  await admin.connect()
  /** How many events of a topic are still to be handled by a consumer group. */
  const lag = async (groupId: string, topic: string) => {
    const [[handled], ends] = await Promise.all([
      admin.fetchOffsets({ groupId, topics: [topic] }),
      admin.fetchTopicOffsets(topic),
    ])
    const at = new Map(handled!.partitions.map(({ partition, offset }) => [partition, Math.max(0, Number(offset))]))
    return ends.reduce((sum, { partition, high }) => sum + Number(high) - (at.get(partition) ?? 0), 0)
  }
  const isDone = async () => {
    const lags = await Promise.all([
      lag('catalog', 'stock-imports'),
      lag('search', 'products'),
      lag('search', 'product-imports'),
      lag('search', 'product-availability'),
    ])
    return lags.every((events) => events === 0)
  }
  try {
    await poll('the index has all products', isDone, { timeoutMs: 1_800_000, intervalMs: 500 })
    // What catalog has published meanwhile.
    await poll('the index has all products', isDone, { timeoutMs: 1_800_000, intervalMs: 500 })
  } finally {
    await admin.disconnect()
  }
}

async function measure(
  shop: Shop,
  { products, ms, loader }: { products: number; ms: number; loader: string | undefined },
  progress: Progress,
  closers: (() => unknown)[],
): Promise<Omit<Size, 'products' | 'seed' | 'startSeconds'>> {
  const gateway = createShopApi(`http://127.0.0.1:${shop.ports.services.gateway.app}`)
  closers.push(gateway.close)
  const bare = await progress.step({ title: 'bare calls through two sidecars' }, async (note) => {
    const rate = await bareCalls(shop, ms / 2)
    note(describe(rate))
    return rate
  })
  const paths = await progress.step({ title: 'samples' }, () => catalogueReads(gateway, products))
  const reads: Read[] = []
  for (const [kind, next] of Object.entries(paths)) {
    reads.push(
      await progress.step({ title: kind }, async (note) => {
        const read = await measureRead(shop, gateway, kind, next, ms)
        note(`${describe(read)}, ${number(read.cpu.reduce((sum, each) => sum + each.milliseconds, 0))} ms of CPU`)
        return read
      }),
    )
  }
  const nginx = findPart('nginx')
  const edge =
    loader === undefined || !('path' in nginx)
      ? undefined
      : await progress.step({ title: 'hot pages at the edge' }, async (note) => {
          const url = `http://127.0.0.1:${shop.ports.api}`
          const kinds = [paths['category page']!, paths['product by id']!]
          const pages = [...new Set(Array.from({ length: edgePages }, (_, i) => kinds[i % 2]!()))]
          const load = { connections: edgeConnections, seconds: ms / 1_000 }
          await wrk(loader, { url, paths: pages, ...load, seconds: 2 })
          const hot = await wrk(loader, { url, paths: pages, ...load })
          const file = await serveStaticFile(nginx.path, hot.bytes)
          const most = await wrk(loader, { url: file.url, paths: ['/file'], ...load })
          await file.close()
          note(`${number(hot.perSecond)}/s, p99 ${number(hot.p99Ms)} ms; a file ${number(most.perSecond)}/s`)
          return { hot, file: most }
        })
  const memory = (await processesOf(shop))
    .map(({ name, rssBytes }) => ({ name, bytes: rssBytes }))
    .toSorted((a, b) => b.bytes - a.bytes)
  return { bare, reads, memory, ...(edge ? { edge } : {}) }
}

async function measureRead(shop: Shop, api: ShopApi, kind: string, next: () => string, ms: number): Promise<Read> {
  const statusCounts: Record<string, number> = {}
  const once = async () => {
    const { status } = await api.send('GET', next())
    statusCounts[status] = (statusCounts[status] ?? 0) + 1
    if (status !== 200 && status !== 404) throw new Error(String(status))
  }
  // A tenth of it is the unmeasured start (load.ts), which costs CPU too.
  const cpu = watchCpu(await processesOf(shop))
  const rate = await closedLoop(callers, ms, once)
  const requests = Object.values(statusCounts).reduce((sum, count) => sum + count, 0)
  const perRequest = cpu().map(({ name, seconds }) => ({ name, milliseconds: (1_000 * seconds) / requests }))
  return { ...rate, kind, statuses: statusCounts, cpu: perRequest }
}

const describe = ({ perSecond, p50Ms, p99Ms, failed }: Rate) =>
  `${number(perSecond)}/s, p50 ${number(p50Ms)} ms, p99 ${number(p99Ms)} ms${failed > 0 ? `, ${failed} failed` : ''}`
