/**
 * A write of one value. `etag`: only over that version. `firstWrite` without etag: only where
 * nothing is.
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
 * A Dapr state store, as the host serves it. Every method throws ComponentError: ETAG_MISMATCH
 * where a condition does not hold, STORE_UNAVAILABLE within 2 s where the database is away.
 */
export type StateStore = {
  features: readonly Feature[]
  get(key: string): Promise<StoredValue | undefined>
  /** Values by key; keys that hold nothing are absent. */
  bulkGet(keys: string[]): Promise<Map<string, StoredValue>>
  set(operation: SetOperation): Promise<void>
  delete(operation: DeleteOperation): Promise<void>
  /**
   * All operations or none. Operations marked as events become rows of the outbox in the same
   * database transaction. Also throws COMMIT_UNKNOWN when the answer to the commit was lost: then
   * all or nothing was done, and only a read tells.
   */
  transact(operations: Operation[], metadata: Record<string, string>): Promise<void>
  close(): Promise<void>
}
