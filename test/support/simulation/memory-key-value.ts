// A key-value store in memory that behaves as LevelDB does when things go wrong: a power cut takes
// a tail of the batches that were not synced, a write can fail, and entries can rot or vanish
// without a word.
import type {
  KeyValue,
  KeyValueBatch,
  KeyValuePlace,
  Pair,
} from '../../../src/store/views/pairs/key-value.ts'
import type { Random } from '../random.ts'

/** A page of a scan ends beyond this, as LevelDB's does. */
const PAGE_BYTES = 200

interface Operation {
  readonly key: string
  /** undefined: delete. */
  readonly value: Buffer | undefined
}

export interface MemoryPlaceOptions {
  readonly random: Random
  /** Runs a function when the thread pool comes to it. Default: in a microtask. */
  readonly inPool?: (fn: () => void) => void
}

class Database {
  readonly entries = new Map<string, Buffer>()
  /** State at the last sync, and the batches since. */
  #durable = new Map<string, Buffer>()
  #unsynced: (readonly Operation[])[] = []

  apply(batch: readonly Operation[], sync: boolean): void {
    applyTo(this.entries, batch)
    this.#unsynced.push(batch)
    if (!sync) return
    for (const operations of this.#unsynced) applyTo(this.#durable, operations)
    this.#unsynced = []
  }

  powerCut(random: Random): void {
    const kept = random.int(this.#unsynced.length + 1)
    for (const operations of this.#unsynced.slice(0, kept)) applyTo(this.#durable, operations)
    this.#unsynced = []
    this.entries.clear()
    for (const [key, value] of this.#durable) this.entries.set(key, value)
  }

  sortedKeys(): string[] {
    return [...this.entries.keys()].sort()
  }
}

export class MemoryPlace implements KeyValuePlace {
  readonly #options: MemoryPlaceOptions
  readonly #databases = new Map<string, Database>()
  /** Grows with each crash: stores opened before it are dead. */
  #life = 0
  /** Batches that fail from now on. */
  failures = 0
  batches = 0

  constructor(options: MemoryPlaceOptions) {
    this.#options = options
  }

  async open(name: string, create: boolean): Promise<KeyValue | undefined> {
    const known = this.#databases.get(name)
    if (known === undefined && !create) return undefined
    const database = known ?? new Database()
    this.#databases.set(name, database)
    return new MemoryKeyValue(this, database, this.#life)
  }

  async remove(name: string): Promise<void> {
    this.#databases.delete(name)
  }

  async names(): Promise<readonly string[]> {
    return [...this.#databases.keys()]
  }

  crash(kind: 'kill' | 'power'): void {
    this.#life++
    if (kind === 'kill') return
    for (const database of this.#databases.values()) database.powerCut(this.#options.random)
  }

  /** Everything is gone. */
  wipe(): void {
    this.#databases.clear()
  }

  /** A random entry vanishes, or one of its bits flips. */
  rot(): void {
    const { random } = this.#options
    const [database] = this.#databases.values()
    const keys = database?.sortedKeys() ?? []
    if (database === undefined || keys.length === 0) return
    const key = random.pick(keys)
    const value = Buffer.from(database.entries.get(key)!)
    if (random.chance(0.5)) database.entries.delete(key)
    else {
      const at = random.int(value.length)
      value[at] = value[at]! ^ (1 << random.int(8))
      database.entries.set(key, value)
    }
  }

  /** Settles when the pool comes to it; never when the process died before. */
  later<T>(life: number, work: () => T): Promise<T> {
    const { inPool = queueMicrotask } = this.#options
    return new Promise((resolve, reject) => {
      inPool(() => {
        if (life !== this.#life) return
        try {
          resolve(work())
        } catch (error) {
          reject(error)
        }
      })
    })
  }

  failIfAsked(): void {
    this.batches++
    if (this.failures === 0) return
    this.failures--
    throw new Error('IO error: simulated')
  }
}

class MemoryKeyValue implements KeyValue {
  readonly #place: MemoryPlace
  readonly #database: Database
  readonly #life: number
  #isClosed = false

  constructor(place: MemoryPlace, database: Database, life: number) {
    this.#place = place
    this.#database = database
    this.#life = life
  }

  get(key: Uint8Array): Buffer | undefined {
    if (this.#isClosed) throw new Error('Database is not open')
    const value = this.#database.entries.get(textOf(key))
    return value && Buffer.from(value)
  }

  batch(): KeyValueBatch {
    const operations: Operation[] = []
    return {
      put: (key, value) => {
        operations.push({ key: textOf(key), value: Buffer.from(value) })
      },
      delete: (key) => {
        operations.push({ key: textOf(key), value: undefined })
      },
      write: (sync) =>
        this.#later(() => {
          this.#place.failIfAsked()
          this.#database.apply(operations, sync)
        }),
    }
  }

  scan(from: Uint8Array, to: Uint8Array, limit: number): Promise<readonly Pair[]> {
    return this.#later(() => {
      const pairs: Pair[] = []
      let bytes = 0
      for (const key of this.#range(from, to)) {
        if (pairs.length >= limit || bytes > PAGE_BYTES) break
        const pair = this.#pair(key)
        pairs.push(pair)
        bytes += pair[0].length + pair[1].length
      }
      return pairs
    })
  }

  clear(from: Uint8Array, to: Uint8Array): Promise<void> {
    return this.#later(() => {
      const gone = this.#range(from, to).map((key) => ({ key, value: undefined }))
      this.#database.apply(gone, false)
    })
  }

  async close(): Promise<void> {
    this.#isClosed = true
  }

  readonly #pair = (key: string): Pair => [
    Buffer.from(key, 'latin1'),
    Buffer.from(this.#database.entries.get(key)!),
  ]

  #range(from: Uint8Array, to: Uint8Array): string[] {
    const [first, end] = [textOf(from), textOf(to)]
    return this.#database.sortedKeys().filter((key) => key >= first && key < end)
  }

  #later<T>(work: () => T): Promise<T> {
    return this.#place.later(this.#life, work)
  }
}

/** Latin-1 text sorts as its bytes do. */
const textOf = (key: Uint8Array): string => Buffer.from(key).toString('latin1')

function applyTo(entries: Map<string, Buffer>, batch: readonly Operation[]): void {
  for (const { key, value } of batch) {
    if (value === undefined) entries.delete(key)
    else entries.set(key, value)
  }
}
