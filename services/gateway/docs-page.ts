import { readFileSync } from 'node:fs'
import type { Express, RequestHandler } from 'express'
import { contentSecurityPolicy } from 'helmet'
import { allowOnlyGet } from './http/error-handlers.ts'
import { setRoute } from './http/observability.ts'

const files = [
  ['/docs', 'index.html', 'html'],
  ['/docs/docs.css', 'docs.css', 'css'],
  ['/docs/docs.js', 'docs.js', 'js'],
] as const

const policy = contentSecurityPolicy({
  useDefaults: false,
  directives: {
    defaultSrc: ["'none'"],
    scriptSrc: ["'self'"],
    styleSrc: ["'self'"],
    connectSrc: ["'self'"],
    imgSrc: ["'self'", 'data:'],
    baseUri: ["'none'"],
    formAction: ["'none'"],
    frameAncestors: ["'none'"],
  },
})

/**
 * Adds /docs, the page that shows the OpenAPI document. Its three files are ours, so it works
 * offline and under a strict policy.
 */
export function addDocsPage(app: Express, rateLimit: RequestHandler): void {
  for (const [path, file, type] of files) {
    const content = readFileSync(new URL(`docs/${file}`, import.meta.url), 'utf8')
    app.get(
      path,
      setRoute(path),
      rateLimit,
      policy,
      (_req, res) => void res.set('Cache-Control', 'no-cache').type(type).send(content),
    )
  }
  allowOnlyGet(app, '/docs')
}
