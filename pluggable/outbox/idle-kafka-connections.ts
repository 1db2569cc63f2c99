import { createRequire } from 'node:module'

// In kafkajs 2.2.4, the last release, each connection that has sent a request asks itself every
// millisecond for ever whether another one waits (https://github.com/tulios/kafkajs/issues/1704):
// 750 wake-ups a second, 2% of a core in each idle component. A request that waits asks for this
// check itself.

type RequestQueue = { pending: unknown[]; scheduleCheckPendingRequests(): void }

const { prototype } = createRequire(import.meta.url)('kafkajs/src/network/requestQueue/index.js') as {
  prototype: RequestQueue
}

/** Lets Kafka connections of this process sleep while nothing waits to be sent. */
export function letIdleConnectionsSleep(): void {
  if (prototype.scheduleCheckPendingRequests === whilePending) return
  schedule = prototype.scheduleCheckPendingRequests
  prototype.scheduleCheckPendingRequests = whilePending
}

let schedule: RequestQueue['scheduleCheckPendingRequests']

function whilePending(this: RequestQueue): void {
  if (this.pending.length > 0) schedule.call(this)
}
