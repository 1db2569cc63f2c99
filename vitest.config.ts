import { defineConfig } from 'vitest/config'

// Four kinds of tests, told apart by their names:
// - `x.test.ts` pure, in milliseconds;
// - `x.int.test.ts` against real servers: MongoDB, MySQL and Kafka of their own, started (or found
//   running) before the
//                    first test. Addresses, as administrator: TEST_MONGODB_URI, TEST_MYSQL_URL (no database selected),
//                    TEST_KAFKA_BROKERS. A test makes databases, collections and topics of its own, with random names;
// - `x.chaos.test.ts` kill servers that they start themselves, over and over, on all cores: after
//   the others, and alone;
// - `e2e/*.test.ts` against the whole shop: SHOP_API, SHOP_JAEGER, SHOP_INSTANCE (see
//   platform/testing/e2e-setup.ts).
const elsewhere = ['**/node_modules/**', '**/.sidecart/**']

export default defineConfig({
  test: {
    // The shop's processes need the cores more than the tests do.
    maxWorkers: 2,
    projects: [
      {
        test: {
          name: 'unit',
          include: [
            '*.test.ts',
            'docs/links.test.ts',
            '{lib,services,pluggable,examples,platform,cli,bench}/**/*.test.ts',
          ],
          exclude: [...elsewhere, '**/*.int.test.ts', '**/*.chaos.test.ts'],
        },
      },
      {
        test: {
          name: 'int',
          include: ['{lib,services,pluggable,examples,platform,cli}/**/*.int.test.ts'],
          exclude: elsewhere,
          globalSetup: 'platform/testing/int-setup.ts',
          testTimeout: 60_000,
          hookTimeout: 120_000,
        },
      },
      {
        test: {
          name: 'chaos',
          include: ['pluggable/**/*.chaos.test.ts'],
          exclude: elsewhere,
          fileParallelism: false,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          name: 'e2e',
          include: ['e2e/**/*.test.ts'],
          exclude: elsewhere,
          globalSetup: 'platform/testing/e2e-setup.ts',
          // They share one shop: what one of them kills, another needs.
          fileParallelism: false,
          testTimeout: 120_000,
          hookTimeout: 180_000,
        },
      },
    ],
  },
})
