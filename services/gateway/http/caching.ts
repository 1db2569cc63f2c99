import type { Access, Operation, User } from './operation.ts'

/**
 * What everyone may keep who stands in front of the gateway: for 1 s, for one more while it asks
 * again, and for 5 minutes while the gateway fails. edge/nginx.conf looks for the first two words.
 */
const shared = 'public, max-age=1, stale-while-revalidate=1, stale-if-error=300'

/**
 * Returns the headers that say who may keep the response of an operation, unless the operation says
 * so itself: of a read that needs no token, everyone, if none was sent; else nobody.
 */
export function cachingOf(
  { access, method }: Pick<Operation, 'access' | 'method'>,
  user: User | undefined,
): { 'Cache-Control': string; Vary?: string } {
  if (method !== 'get' || !reads.includes(access)) return { 'Cache-Control': 'private, no-store' }
  if (access === 'public') return { 'Cache-Control': shared }
  return { 'Cache-Control': user ? 'private, no-store' : shared, Vary: 'Authorization' }
}

const reads: Access[] = ['public', 'optional']
