// The entries chosen for one answer, and how their records get into one buffer with few reads.
import { viewOf } from '../model/bytes.ts'
import { type QueueOffset, queueOffset } from '../model/positions.ts'
import type { RecordRun } from './record-run.ts'
import type { Choose, ReadRequest } from './store.ts'
import {
  BLOCK_ENTRIES,
  type ConsumeQueue,
  entryCheck,
  entryTagHash,
  positionIn,
  sizeIn,
} from './views/consume-queue.ts'

/** Entries looked at by one read whose filter matches none of them. */
const SCAN_ENTRIES_MAX = 16_384
/** Records further apart are read one by one. */
const GAP_BYTES_MAX = 16 * 1024
export const SPAN_BYTES_MAX = 1024 * 1024
const NO_BYTES = Buffer.alloc(0)

export class Selection {
  readonly positions: number[] = []
  readonly sizes: number[] = []
  readonly checks: number[] = []
  readonly offsets: QueueOffset[] = []
  bytes = 0
  /** The offset to go on at. */
  next = 0

  add({ block, slot, offset, size, position }: EntryWalk): void {
    this.positions.push(position)
    this.sizes.push(size)
    this.checks.push(entryCheck(block, slot))
    this.offsets.push(queueOffset(offset))
    this.bytes += size
  }
}

/** The entries of one read, in order: those with a tag that is wanted, within its limits. */
export class EntryWalk {
  readonly #queue: ConsumeQueue
  readonly #request: ReadRequest
  readonly #end: number
  #messages = 0
  #bytes = 0
  /** Of the entry that `next` went to. */
  block: Buffer = NO_BYTES
  slot = BLOCK_ENTRIES
  offset: number
  size = 0
  position = 0
  #view = viewOf(NO_BYTES)
  /** The offset to go on at. */
  after: number

  constructor(queue: ConsumeQueue, request: ReadRequest) {
    this.#queue = queue
    this.#request = request
    this.#end = Math.min(queue.next, request.offset + SCAN_ENTRIES_MAX)
    this.offset = request.offset - 1
    this.after = request.offset
  }

  /** False: there is none within the limits. @throws ViewsDamaged */
  next(): boolean {
    const { hashes, maxMessages, maxBytes } = this.#request
    if (this.#messages >= maxMessages) return false
    while (this.after < this.#end) {
      if (++this.slot >= BLOCK_ENTRIES) this.#load()
      const size = sizeIn(this.#view, this.slot)
      const isWanted =
        size > 0 && (hashes === undefined || hashes.has(entryTagHash(this.block, this.slot)))
      if (isWanted && this.#bytes > 0 && this.#bytes + size > maxBytes) return false
      this.offset = this.after++
      if (!isWanted) continue
      this.size = size
      this.position = positionIn(this.#view, this.slot)
      this.#messages++
      this.#bytes += size
      return true
    }
    return false
  }

  #load(): void {
    const index = this.after - this.#queue.shift
    this.block = this.#queue.block(Math.floor(index / BLOCK_ENTRIES))
    this.#view = new DataView(this.block.buffer, this.block.byteOffset, this.block.length)
    this.slot = index % BLOCK_ENTRIES
  }
}

/** @throws ViewsDamaged */
export function select(queue: ConsumeQueue, request: ReadRequest): Selection {
  const chosen = new Selection()
  const walk = new EntryWalk(queue, request)
  while (walk.next()) chosen.add(walk)
  chosen.next = walk.after
  return chosen
}

/** What is chosen of the records of a read, for one answer. */
export class Chosen {
  readonly #choose: Choose
  /** Views of what is lent, until `records`. */
  readonly #taken: Buffer[] = []
  readonly offsets: QueueOffset[] = []

  constructor(choose: Choose) {
    this.#choose = choose
  }

  /** False: the read stops at this record. */
  #look({ bytes, starts, sizes, propertiesStarts, offsets }: RecordRun, i: number): boolean {
    const start = starts[i]!
    const size = sizes[i]!
    const choice = this.#choose(bytes, start, size, propertiesStarts[i]!)
    if (choice === 'take') {
      this.#taken.push(bytes.subarray(start, start + size))
      this.offsets.push(queueOffset(offsets[i]!))
    }
    return choice !== 'stop'
  }

  /** At each in order. @returns the offset of the record that it stops at; undefined: at none */
  lookAt(run: RecordRun): number | undefined {
    run.findProperties()
    for (let i = 0; i < run.count; i++) if (!this.#look(run, i)) return run.offsets[i]!
    return undefined
  }

  /** A copy. */
  records(): Buffer {
    return Buffer.concat(this.#taken)
  }
}

/** Neighbouring records that one read fetches, gaps included. */
interface Span {
  readonly position: number
  /** Entries [first, end) of the selection. */
  readonly first: number
  readonly end: number
  readonly size: number
  /** Without the gaps. */
  readonly recordBytes: number
}

/** One read: fill `target[at, at + size)` from the position. */
export interface Fetch {
  readonly target: Buffer
  readonly at: number
  readonly position: number
  readonly size: number
}

/**
 * The reads that fill `records`; answer each with whether it worked. What cannot be read becomes
 * zeros. Spans with gaps go through `room`, which must do until the next read is asked for.
 */
export function* fetches(
  selection: Selection,
  records: Buffer,
  room: (bytes: number) => Buffer,
): Generator<Fetch, void, boolean> {
  let at = 0
  for (const span of spansOf(selection)) {
    const { position, size, recordBytes } = span
    if (recordBytes === size) {
      if (!(yield { target: records, at, position, size })) {
        yield* oneByOne(selection, span, records, at)
      }
    } else {
      const target = room(size)
      if (yield { target, at: 0, position, size }) gather(selection, span, target, records, at)
      else yield* oneByOne(selection, span, records, at)
    }
    at += recordBytes
  }
}

function* oneByOne(
  { positions, sizes }: Selection,
  { first, end }: Span,
  records: Buffer,
  start: number,
): Generator<Fetch, void, boolean> {
  let at = start
  for (let i = first; i < end; i++) {
    const size = sizes[i]!
    if (!(yield { target: records, at, position: positions[i]!, size })) {
      records.fill(0, at, at + size)
    }
    at += size
  }
}

function gather(
  { positions, sizes }: Selection,
  { position, first, end }: Span,
  room: Buffer,
  records: Buffer,
  start: number,
): void {
  let at = start
  for (let i = first; i < end; i++) {
    const from = positions[i]! - position
    room.copy(records, at, from, from + sizes[i]!)
    at += sizes[i]!
  }
}

function spansOf({ positions, sizes }: Selection): Span[] {
  const spans: Span[] = []
  for (let first = 0; first < sizes.length; ) {
    const position = positions[first]!
    let recordBytes = sizes[first]!
    let stop = position + recordBytes
    let end = first + 1
    for (; end < sizes.length; end++) {
      const next = positions[end]!
      const nextStop = next + sizes[end]!
      if (next < stop || next - stop > GAP_BYTES_MAX || nextStop - position > SPAN_BYTES_MAX) break
      stop = nextStop
      recordBytes += sizes[end]!
    }
    spans.push({ position, first, end, size: stop - position, recordBytes })
    first = end
  }
  return spans
}
