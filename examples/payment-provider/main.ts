import * as z from 'zod'
import { logEnv, parseEnv } from '#lib/config.ts'
import { runProcess } from '#lib/lifecycle.ts'
import { createLogger } from '#lib/logger.ts'
import { openLedger } from './ledger.ts'
import { serveSandbox } from './server.ts'

const config = parseEnv({
  ...logEnv,
  HOST: z.string().default('127.0.0.1'),
  PORT: z.coerce.number().int().min(0).max(65535),
  DATA_FILE: z.string().min(1),
  PROVIDER_API_KEY: z.string().min(1),
  IDEMPOTENCY_KEYS_S: z.coerce.number().min(0).default(86_400),
  SEARCH_LAG_MS: z.coerce.number().min(0).default(0),
})
const log = await createLogger({ service: 'payment-sandbox', level: config.LOG_LEVEL, format: config.LOG_FORMAT })

await runProcess(log, async (onClose) => {
  const ledger = openLedger(config.DATA_FILE, {
    keyMs: config.IDEMPOTENCY_KEYS_S * 1_000,
    searchLagMs: config.SEARCH_LAG_MS,
  })
  onClose('ledger', ledger.close)
  const { port, close } = await serveSandbox({
    host: config.HOST,
    port: config.PORT,
    apiKey: config.PROVIDER_API_KEY,
    ledger,
    log,
  })
  onClose('HTTP server', close)
  log.info({ port }, 'listening')
})
