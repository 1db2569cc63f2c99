/**
 * A committed event that waits to be published. `position` identifies its row; `ageMs` is how long
 * before the read it was written.
 */
export type OutboxRow<Position> = {
  position: Position
  partitionKey: string
  sequence: number
  payload: Buffer
  ageMs?: number
}

/** The right to relay, valid for `leaseMs` by the database's clock from when it was requested. */
export type Lease = { token: number }

/** What the relay needs of an outbox. */
export type RelaySource<Position> = {
  /**
   * Takes the lease if it is free or has expired by the database's clock. Every success has a
   * higher token.
   */
  acquireLease(leaseMs: number): Promise<Lease | undefined>
  /** Returns false when another process has the lease by now. */
  renewLease(lease: Lease, leaseMs: number): Promise<boolean>
  releaseLease(lease: Lease): Promise<void>
  /**
   * Returns the oldest rows, always from the start. Guarantee: every earlier row of a row's
   * partition key that is still in the outbox comes before it in the result.
   */
  read(limits: { rows: number; bytes: number }): Promise<OutboxRow<Position>[]>
  /**
   * Deletes exactly these rows if the lease's token is still valid; otherwise deletes nothing and
   * returns false.
   */
  remove(rows: OutboxRow<Position>[], lease: Lease): Promise<boolean>
  /**
   * Present if the database can report commits by other processes. Only a hint to read: polling
   * finds the rows too.
   */
  watch?(): Watch
}

export type Watch = {
  /**
   * Resolves when something was, or may have been, committed since the last call, and after
   * `close`. Never rejects.
   */
  changed(): Promise<void>
  close(): void
}
