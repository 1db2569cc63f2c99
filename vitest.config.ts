import { defineConfig } from 'vitest/config'

// Tests by file name:
// - `x.test.ts`: in process, in milliseconds.
// - `x.int.test.ts`: against real servers (MongoDB, MySQL and Kafka), which are started for the run
//   unless TEST_MONGODB_URI, TEST_MYSQL_URL (without a database) and TEST_KAFKA_BROKERS name
//   running ones; both logins must be administrators. Tests create databases and topics with random
//   names.
// - `x.chaos.test.ts`: kill their own servers repeatedly and use all cores, so they run last and
//   one at a time.
// - `e2e/*.test.ts`: against the whole shop (platform/testing/e2e-setup.ts), by SHOP_API,
//   SHOP_JAEGER and SHOP_INSTANCE.
// - `e2e/cluster/*.test.ts`: against the shop in a real cluster, which needs Linux and root
//   (platform/testing/cluster-setup.ts), by `npm run cluster -- test` or `npm test -- --cluster`.
// - `tilt/*.test.ts`: drive a real Tilt, on copies of the clone.
// - `docs/*.test.ts`: follow a page of the docs; they may start a shop of their own.
const elsewhere = ['**/node_modules/**', '**/.sidecart/**']

export default defineConfig({
  test: {
    // The servers need the cores more than the tests do.
    maxWorkers: 2,
    projects: [
      {
        test: {
          name: 'unit',
          include: [
            '*.test.ts',
            'docs/links.test.ts',
            'e2e/chaos/*.test.ts',
            '{lib,services,pluggable,examples,images,platform,k8s,reconcile,cli,bench}/**/*.test.ts',
          ],
          exclude: [...elsewhere, '**/*.int.test.ts', '**/*.chaos.test.ts'],
        },
      },
      {
        test: {
          name: 'int',
          include: ['{lib,services,pluggable,examples,platform,k8s,cli}/**/*.int.test.ts'],
          exclude: elsewhere,
          globalSetup: 'platform/testing/int-setup.ts',
          // Longer than poll()'s 60 s, so that a failure names the condition it waited for.
          testTimeout: 90_000,
          hookTimeout: 120_000,
        },
      },
      {
        test: {
          name: 'chaos',
          include: ['{pluggable,e2e}/**/*.chaos.test.ts'],
          exclude: elsewhere,
          fileParallelism: false,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          name: 'e2e',
          include: ['e2e/**/*.test.ts'],
          exclude: [...elsewhere, 'e2e/{cluster,chaos}/**'],
          // What the last one does at the end comes first.
          globalSetup: ['platform/testing/e2e-setup.ts', 'e2e/reconcile-setup.ts', 'e2e/leaks-setup.ts'],
          // They share one shop: one kills what another needs.
          fileParallelism: false,
          testTimeout: 120_000,
          hookTimeout: 180_000,
        },
      },
      {
        test: {
          name: 'tilt',
          include: ['tilt/**/*.test.ts'],
          exclude: [...elsewhere, 'tilt/cluster/**'],
          fileParallelism: false,
          testTimeout: 240_000,
          hookTimeout: 600_000,
        },
      },
      {
        test: {
          name: 'cluster',
          include: ['e2e/cluster/**/*.test.ts', 'tilt/cluster/*.test.ts'],
          exclude: elsewhere,
          globalSetup: 'platform/testing/cluster-setup.ts',
          // They share one shop on one node.
          fileParallelism: false,
          testTimeout: 180_000,
          hookTimeout: 300_000,
        },
      },
      {
        test: { name: 'docs', include: ['docs/**/*.test.ts'], exclude: elsewhere, fileParallelism: false },
      },
    ],
  },
})
