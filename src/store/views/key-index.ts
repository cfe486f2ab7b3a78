// Where the records of a key may stand: hashes of (topic, key) in runs, newest last. The current
// run is in memory; a full one goes to the views as up to 64 values, by the first bits of the hash,
// so that a lookup reads one of them per run. A hit is a hint that the caller verifies; a miss is
// certain.
//
//   run      seal, u8 bits, u32 entries, u64 end        buckets = 2^bits
//   bucket   seal, repeated: i32 hash, u32 position - runStart
import { getI32, getU32, getU64, putU32, putU64, viewOf } from '../../model/bytes.ts'
import { bucketKey, parseRunKey, prefixRange, runKey } from './keys.ts'
import {
  readSeal,
  SEAL_BYTES,
  type SealedBatch,
  type SealedKeyValue,
  ViewsDamaged,
} from './pairs/sealed.ts'
import { Tally } from './tally.ts'

const RUN_ENTRIES_MAX = 65_536
/** Further keys of one record are not indexed. */
export const KEYS_PER_RECORD_MAX = 64
/** A run covers this much log at most: what replay repeats for the run that was in memory. */
const RUN_SPAN_BYTES_MAX = 64 * 1024 * 1024
const BUCKET_BITS_MAX = 6
const BUCKET_ENTRIES = 1024
const ENTRY_BYTES = 8
const HASH_PRIME = 0x9e3779b1

/** Hash of `bytes[start, end)` on top of a topic's hash. */
export const keyHash = (bytes: Uint8Array, start: number, end: number, seed: number): number =>
  hashed(bytes, start, end, seed ^ (end - start))

function hashed(bytes: Uint8Array, start: number, end: number, from: number): number {
  let h = from
  for (let at = start; at < end; at++) {
    h = Math.imul(h ^ bytes[at]!, HASH_PRIME)
    h ^= h >>> 15
  }
  return h
}

/** A unique id in RocketMQ's usual form, and the part that ids of one sender share for a while. */
const ID_BYTES = 32
const HEAD_WORDS = 7

/**
 * `keyHash` of ids that come one after the other, for a third of its price: those that a sender
 * makes within a millisecond differ in their last four characters, the count, alone.
 */
export class IdHasher {
  readonly #head = new Int32Array(HEAD_WORDS)
  #seed = 0
  /** The hash so far, behind that head. */
  #hash: number | undefined

  hash(bytes: Uint8Array, start: number, end: number, seed: number): number {
    if (end - start !== ID_BYTES) return keyHash(bytes, start, end, seed)
    const rest = start + 4 * HEAD_WORDS
    if (this.#hash === undefined || seed !== this.#seed || !this.#isHead(bytes, start)) {
      this.#keep(bytes, start)
      this.#seed = seed
      this.#hash = hashed(bytes, start, rest, seed ^ ID_BYTES)
    }
    return hashed(bytes, rest, end, this.#hash)
  }

  /** The last word first: it is the one that changes. */
  #isHead(bytes: Uint8Array, start: number): boolean {
    const view = viewOf(bytes)
    let i = HEAD_WORDS - 1
    while (i >= 0 && view.getInt32(start + 4 * i) === this.#head[i]) i--
    return i < 0
  }

  #keep(bytes: Uint8Array, start: number): void {
    const view = viewOf(bytes)
    for (let i = 0; i < HEAD_WORDS; i++) this.#head[i] = view.getInt32(start + 4 * i)
  }
}

const CHAINS = RUN_ENTRIES_MAX

/**
 * A run in memory. Its entries are chained by hash when it is searched: most runs never are, and
 * one that is may be searched thousands of times in one turn of the event loop.
 */
class Run {
  readonly start: number
  readonly hashes = new Int32Array(RUN_ENTRIES_MAX + KEYS_PER_RECORD_MAX)
  readonly positions = new Uint32Array(RUN_ENTRIES_MAX + KEYS_PER_RECORD_MAX)
  count = 0
  end = 0

  /** One above the newest entry of each chain, and of each entry the same of the one before it. */
  #heads: Int32Array | undefined
  #before: Int32Array | undefined
  #chained = 0

  constructor(start: number) {
    this.start = start
    this.end = start
  }

  /** Newest first. */
  *positionsOf(hash: number): Generator<number> {
    this.#heads ??= new Int32Array(CHAINS)
    this.#before ??= new Int32Array(this.hashes.length)
    const heads = this.#heads
    const before = this.#before
    for (; this.#chained < this.count; this.#chained++) {
      const chain = this.hashes[this.#chained]! & (CHAINS - 1)
      before[this.#chained] = heads[chain]!
      heads[chain] = this.#chained + 1
    }
    for (let i = heads[hash & (CHAINS - 1)]! - 1; i >= 0; i = before[i]! - 1) {
      if (this.hashes[i] === hash) yield this.start + this.positions[i]!
    }
  }

  isFullAt(position: number): boolean {
    return this.count >= RUN_ENTRIES_MAX || position - this.start > RUN_SPAN_BYTES_MAX
  }

  get bits(): number {
    let bits = 0
    while (bits < BUCKET_BITS_MAX && this.count > BUCKET_ENTRIES << bits) bits++
    return bits
  }
}

/** A run in the views. */
interface StoredRun {
  readonly start: number
  /** Position of its last record. */
  readonly end: number
  readonly bits: number
  readonly seal: number
}

const bucketOf = (hash: number, bits: number): number => (bits === 0 ? 0 : hash >>> (32 - bits))

export class KeyIndex {
  readonly tally = new Tally()
  readonly #stored: SealedKeyValue
  #current: Run | undefined
  /** Full and not in the views yet, oldest first. */
  #full: Run[] = []
  /** Taken by the batch that is under way. */
  #saving: Run[] = []
  /** Oldest first. */
  #runs: StoredRun[] = []

  constructor(stored: SealedKeyValue) {
    this.#stored = stored
  }

  /**
   * Keys of records before this position are in the views once the next batch is; `mark` when all
   * are.
   */
  keptTo(mark: number): number {
    return this.#current?.start ?? mark
  }

  /** At most KEYS_PER_RECORD_MAX times for one position; positions never fall. */
  add(hash: number, position: number): void {
    let run = this.#current
    if (run === undefined || (position !== run.end && run.isFullAt(position))) {
      if (run !== undefined) this.#full.push(run)
      run = new Run(position)
      this.#current = run
    }
    run.hashes[run.count] = hash
    run.positions[run.count] = position - run.start
    run.count++
    run.end = position
  }

  /**
   * Positions behind `after` of records that may carry the key, newest first, each once: runs may
   * move on to the views while the caller looks at a record. undefined after each value that was
   * read from the views, of which there may be thousands: a place to let others run.
   * @throws ViewsDamaged
   */
  *candidates(hash: number, after = -1): Generator<number | undefined> {
    let last = Number.POSITIVE_INFINITY
    for (const position of this.#hits(hash, after)) {
      if (position !== undefined && position <= after) return
      if (position === undefined) yield undefined
      if (position === undefined || position >= last) continue
      last = position
      yield position
    }
  }

  *#hits(hash: number, after: number): Generator<number | undefined> {
    if (this.#current !== undefined) yield* this.#current.positionsOf(hash)
    for (const run of this.#full.toReversed()) yield* run.positionsOf(hash)
    for (const run of this.#saving.toReversed()) yield* run.positionsOf(hash)
    for (const run of this.#runs.toReversed()) {
      if (run.end <= after) return
      yield* this.#inStoredRun(run, hash)
      yield undefined
    }
  }

  /** Runs whose records are all before `logStart` go. */
  save(batch: SealedBatch, logStart: number): void {
    this.#dropBefore(logStart, batch)
    this.#saving = this.#full
    this.#full = []
    for (const run of this.#saving) {
      const { start, end, bits } = run
      saveBuckets(batch, run)
      const seal = batch.put(runKey(start), runValue(run))
      this.tally.replace(-1, seal)
      this.#runs.push({ start, end, bits, seal })
    }
  }

  /** The batch is in the views. */
  saved(): void {
    this.#saving = []
  }

  async load(): Promise<void> {
    for await (const [key, value] of this.#stored.scan(...prefixRange('K'))) {
      const bits = value[SEAL_BYTES]!
      const end = getU64(value, SEAL_BYTES + 5)
      const seal = readSeal(value)
      this.#runs.push({ start: parseRunKey(key), end, bits, seal })
      this.tally.replace(-1, seal)
    }
  }

  /** Runs that are wholly before the position. */
  #dropBefore(position: number, batch: SealedBatch): void {
    while (this.#runs.length > 0 && this.#runs[0]!.end < position) {
      const { start, bits, seal } = this.#runs.shift()!
      batch.delete(runKey(start))
      for (let b = 0; b < 1 << bits; b++) batch.delete(bucketKey(start, b))
      this.tally.replace(seal, -1)
    }
  }

  *#inStoredRun(run: StoredRun, hash: number): Generator<number> {
    // Runs of a batch that is under way are still in memory, and were searched there.
    if (this.#saving.some((saving) => saving.start === run.start)) return
    // Retention took it since the search began.
    if (run.start < (this.#runs[0]?.start ?? Number.POSITIVE_INFINITY)) return
    const bucket = bucketOf(hash, run.bits)
    const value = this.#stored.get(bucketKey(run.start, bucket))
    if (value === undefined) {
      throw new ViewsDamaged(`bucket ${bucket} of the key run at ${run.start} is missing`)
    }
    for (let at = value.length - ENTRY_BYTES; at >= SEAL_BYTES; at -= ENTRY_BYTES) {
      if (getI32(value, at) === hash) yield run.start + getU32(value, at + 4)
    }
  }
}

function runValue(run: Run): Buffer {
  const value = Buffer.allocUnsafe(SEAL_BYTES + 13)
  value[SEAL_BYTES] = run.bits
  putU32(value, SEAL_BYTES + 1, run.count)
  putU64(value, SEAL_BYTES + 5, run.end)
  return value
}

/** Every bucket gets a value, an empty one too, so that a missing one is a loss. */
function saveBuckets(batch: SealedBatch, run: Run): void {
  const { bits, hashes, positions, count, start } = run
  const counts = new Uint32Array(1 << bits)
  for (let i = 0; i < count; i++) counts[bucketOf(hashes[i]!, bits)]!++
  const values = Array.from(counts, (n) => Buffer.allocUnsafe(SEAL_BYTES + n * ENTRY_BYTES))
  const next = new Uint32Array(1 << bits).fill(SEAL_BYTES)
  for (let i = 0; i < count; i++) {
    const bucket = bucketOf(hashes[i]!, bits)
    const at = next[bucket]!
    putU32(values[bucket]!, at, hashes[i]!)
    putU32(values[bucket]!, at + 4, positions[i]!)
    next[bucket] = at + ENTRY_BYTES
  }
  for (const [bucket, value] of values.entries()) batch.put(bucketKey(start, bucket), value)
}
