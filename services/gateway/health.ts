import type { Express } from 'express'
import { allowOnlyGet } from './http/error-handlers.ts'

/** Adds /livez and /readyz, which are neither logged nor rate-limited. */
export function addHealth(app: Express, ready: () => Promise<true | string>): void {
  app.get('/livez', (_req, res) => void res.type('text').send('ok\n'))
  app.get('/readyz', async (_req, res) => {
    const state = await ready()
    res
      .status(state === true ? 200 : 503)
      .type('text')
      .send(state === true ? 'ok\n' : `${state}\n`)
  })
  for (const path of ['/livez', '/readyz']) allowOnlyGet(app, path)
}
