/**
 * A write of one value. With `etag` it replaces only that version; with `firstWrite` and no etag it
 * only creates.
 */
export type SetOperation = {
  kind: 'set'
  key: string
  value: Buffer
  etag?: string
  firstWrite: boolean
  ttlSeconds?: number
  metadata: Record<string, string>
}

export type DeleteOperation = { kind: 'delete'; key: string; etag?: string; metadata: Record<string, string> }

export type Operation = SetOperation | DeleteOperation

export type StoredValue = { value: Buffer; etag: string; expiresAt?: Date }

export type Feature = 'ETAG' | 'TRANSACTIONAL' | 'TTL'

/**
 * A Dapr state store as the host serves it. Every method throws ComponentError: ETAG_MISMATCH if a
 * condition does not hold, STORE_UNAVAILABLE within 2 s if the database is down.
 */
export type StateStore = {
  features: readonly Feature[]
  get(key: string): Promise<StoredValue | undefined>
  /** Returns values by key; missing keys are absent. */
  bulkGet(keys: string[]): Promise<Map<string, StoredValue>>
  set(operation: SetOperation): Promise<void>
  delete(operation: DeleteOperation): Promise<void>
  /**
   * Does all operations or none. Operations marked as events become outbox rows in the same
   * database transaction. Also throws COMMIT_UNKNOWN if the response to the commit was lost: then
   * all or nothing was done, and only a read shows which.
   */
  transact(operations: Operation[], metadata: Record<string, string>): Promise<void>
  close(): Promise<void>
}
