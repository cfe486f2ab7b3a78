// The ordered key-value store as the views use it: exact gets, batches that are all there or not at
// all, scans in pages. LevelDB is one (level.ts); the simulator has its own.

export type Pair = readonly [key: Buffer, value: Buffer]

/** Operations in the order given; keys and values are copied at once. */
export interface KeyValueBatch {
  put(key: Uint8Array, value: Uint8Array): void
  delete(key: Uint8Array): void
  /** `sync`: on the disk when it settles. A crash leaves a prefix of the batches written. */
  write(sync: boolean): Promise<void>
}

export interface KeyValue {
  /** On this thread: for values that are likely in memory or the page cache. */
  get(key: Uint8Array): Buffer | undefined
  batch(): KeyValueBatch
  /**
   * from <= key < to, in key order, `limit` pairs at most, fewer when they are large, none only at
   * the end.
   */
  scan(from: Uint8Array, to: Uint8Array, limit: number): Promise<readonly Pair[]>
  /** Removes from <= key < to; not atomic. */
  clear(from: Uint8Array, to: Uint8Array): Promise<void>
  close(): Promise<void>
}

/** A place with several stores by name, one of which is current. */
export interface KeyValuePlace {
  /** Created empty when `create`; otherwise undefined when there is none that opens. */
  open(name: string, create: boolean): Promise<KeyValue | undefined>
  /** Idempotent. */
  remove(name: string): Promise<void>
  names(): Promise<readonly string[]>
}
