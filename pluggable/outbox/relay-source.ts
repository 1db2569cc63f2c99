/**
 * A committed event that waits to be published. `position` identifies its row; `ageMs` is how long
 * before the read it was written.
 */
export type OutboxRow<Position> = {
  position: Position
  partitionKey: string
  /** The event's own topic, if it has one. */
  topic?: string
  sequence: number
  payload: Buffer
  ageMs?: number
}

/** The right to relay, valid for `leaseMs` by the database's clock from when it was requested. */
export type Lease = { token: number }

/** How long after another process has asked for the lease it counts as present. */
export const presentMs = 10_000
/** How often one that asks in vain records that it does, in the database. */
export const askEveryMs = 3_000

/** What the relay needs of an outbox. */
export type RelaySource<Position> = {
  /**
   * Takes the lease if it is free or has expired by the database's clock. Every success has a
   * higher token.
   */
  acquireLease(leaseMs: number): Promise<Lease | undefined>
  /**
   * Returns undefined when another process has the lease by now; else whether another has asked for
   * it lately, so may commit what this one does not see.
   */
  renewLease(lease: Lease, leaseMs: number): Promise<{ isShared: boolean } | undefined>
  releaseLease(lease: Lease): Promise<void>
  /**
   * Returns the oldest rows, always from the start. Guarantee: every earlier row of a row's
   * partition key and topic that is still in the outbox comes before it in the result.
   */
  read(limits: { rows: number; bytes: number }): Promise<OutboxRow<Position>[]>
  /**
   * Deletes exactly these rows, which Kafka has. Returns false if another process leads by now;
   * then it may have deleted nothing.
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
