import express, { type Express } from 'express'
import helmet from 'helmet'
import type { Logger } from '#lib/logger.ts'
import { createAuth } from './auth.ts'
import type { Clients } from './clients.ts'
import { allowOrigins } from './cors.ts'
import { addDocsPage } from './docs-page.ts'
import { addHealth } from './health.ts'
import { answerProblem, routeNotFound } from './http/error-handlers.ts'
import { observe } from './http/observability.ts'
import type { Operation } from './http/operation.ts'
import { checkUrl } from './http/request.ts'
import { addOpenApi } from './openapi.ts'
import { addOperations } from './operation-routes.ts'
import { createRateLimits, type Limits } from './rate-limits.ts'
import { categories } from './routes/categories.ts'
import { orders } from './routes/orders.ts'
import { refunds } from './routes/refunds.ts'
import { productLists } from './routes/product-lists.ts'
import { products } from './routes/products.ts'
import { sessions } from './routes/sessions.ts'
import { stock } from './routes/stock.ts'
import { users } from './routes/users.ts'

export type AppOptions = {
  clients: Clients
  log: Logger
  /** Returns true, or the reason why the gateway cannot serve. */
  ready: () => Promise<true | string>
  corsOrigins?: string[]
  trustProxyHops?: number
  limits: Limits
}

/** The HTTP application. It keeps no state but rate-limit counters and the public keys of users. */
export function createApp({ clients, log, ready, corsOrigins = [], trustProxyHops = 0, limits }: AppOptions): Express {
  const operations: Operation[] = [users, sessions, categories, productLists, products, orders, refunds, stock].flatMap(
    (routes) => routes(clients),
  )
  const auth = createAuth({
    getJwks: (call) => clients.users.getJwks({}, call),
    checkSession: (session, call) => clients.users.checkSession(session, call),
  })
  const rateLimits = createRateLimits(limits, auth)

  const app = express()
  app.disable('x-powered-by')
  app.set('case sensitive routing', true)
  app.set('query parser', false)
  app.set('trust proxy', trustProxyHops)

  app.use(observe(log))
  app.use(
    helmet({
      contentSecurityPolicy: { useDefaults: false, directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] } },
    }),
  )
  app.use(allowOrigins(corsOrigins))
  app.use(checkUrl)

  addHealth(app, ready)
  addOpenApi(app, operations, rateLimits.api)
  addDocsPage(app, rateLimits.api)
  addOperations(app, operations, { auth, rateLimits })

  app.use(rateLimits.api, routeNotFound)
  app.use(answerProblem)
  return app
}
