import * as z from 'zod'
import { logEnv, parseEnv } from '#lib/config.ts'
import { runProcess } from '#lib/lifecycle.ts'
import { createLogger } from '#lib/logger.ts'
import { serveMailbox } from './server.ts'
import { openMailStore } from './store.ts'

const config = parseEnv({
  ...logEnv,
  HOST: z.string().default('127.0.0.1'),
  PORT: z.coerce.number().int().min(0).max(65535),
  DATA_FILE: z.string().min(1),
  MAIL_API_KEY: z.string().min(1),
})
const log = await createLogger({ service: 'mailbox', level: config.LOG_LEVEL, format: config.LOG_FORMAT })

await runProcess(log, async (onClose) => {
  const store = openMailStore(config.DATA_FILE)
  onClose('mails', store.close)
  const { port, close } = await serveMailbox({
    host: config.HOST,
    port: config.PORT,
    apiKey: config.MAIL_API_KEY,
    store,
    log,
  })
  onClose('HTTP server', close)
  log.info({ port }, 'listening')
})
