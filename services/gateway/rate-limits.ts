import type { Request, RequestHandler } from 'express'
import { rateLimit } from 'express-rate-limit'
import type { Auth } from './auth.ts'
import { isStaff, type Operation } from './http/operation.ts'
import { HttpError } from './http/problem.ts'

export type Limits = { apiPer10s: number; staffPer10s: number; authPerMinute: number }

export type RateLimits = ReturnType<typeof createRateLimits>

/** One limiter for each kind of request, with separate counters. */
export function createRateLimits({ apiPer10s, staffPer10s, authPerMinute }: Limits, auth: Auth) {
  return {
    api: limitRequests(apiPer10s, 10_000),
    staff: limitRequests(staffPer10s, 10_000),
    // For everyone alike: a seller may guess an admin's password.
    logIn: limitRequests(authPerMinute, 60_000),
    // A seller or admin who creates accounts is a seed or an import.
    registration: limitRequests(authPerMinute, 60_000, (req) => hasStaffToken(auth, req)),
  }
}

/** Which limit counts an operation. */
export const limitOf = ({ limit, access }: Operation): keyof RateLimits =>
  limit ?? (access === 'staff' || access === 'admin' ? 'staff' : 'api')

/** Counts requests by client address in a fixed window and reports it in the RateLimit headers. */
const limitRequests = (
  limit: number,
  windowMs: number,
  skip: (req: Request) => Promise<boolean> = async () => false,
): RequestHandler =>
  rateLimit({
    limit,
    windowMs,
    skip,
    standardHeaders: 'draft-8',
    legacyHeaders: false,
    // It would print to the console whatever clients provoke.
    validate: false,
    identifier: `${limit}-in-${windowMs / 1000}s`,
    handler: () => {
      throw new HttpError('too_many_requests', 'Too many requests from this address; see Retry-After')
    },
  })

async function hasStaffToken(auth: Auth, req: Request): Promise<boolean> {
  if (req.headers.authorization === undefined) return false
  return auth.authenticate(req.headers.authorization, { timeoutMs: 1_000 }).then(isStaff, () => false)
}
