// Answers reads by queue offset: entries first, then their records in one buffer, from the tail
// cache when it has them all, else from the disk in spans. A record that does not check is never
// served.
import type { Clock } from '../clock.ts'
import type { Logger } from '../log.ts'
import { getI32 } from '../model/bytes.ts'
import { logPosition, type QueueOffset, queueOffset } from '../model/positions.ts'
import { checkRecord, RecordView } from '../model/record.ts'
import type { Counter, Numbers } from '../numbers/numbers.ts'
import { QuickReads } from './disk/quick-reads.ts'
import type { CommitLog, TailPart } from './log/commit-log.ts'
import { PAGE_CACHE_BYTES } from './log/log-reader.ts'
import { DAMAGED_RECORDS } from './numbers.ts'
import { RecordRun } from './record-run.ts'
import { Chosen, EntryWalk, fetches, type Selection, SPAN_BYTES_MAX, select } from './selection.ts'
import type { Choose, ReadRequest, ReadResult } from './store.ts'
import {
  BLOCK_ENTRIES,
  type ConsumeQueue,
  entryCheck,
  entryPosition,
  entrySize,
} from './views/consume-queue.ts'
import { recordCheck } from './views/record-scan.ts'
import type { StoreTimes } from './views/store-times.ts'

const NO_RECORDS = Buffer.alloc(0)
/** Rooms of SPAN_BYTES_MAX that are kept; when more reads are under way they use new memory. */
const ROOMS_MAX = 8

const roomOf =
  (room: Buffer | undefined) =>
  (bytes: number): Buffer =>
    room ?? Buffer.allocUnsafe(bytes)

type Fetches = ReturnType<typeof fetches>

/** Is this the record that was indexed, byte for byte? */
export const isWhole = (bytes: Buffer, at: number, size: number, check: number): boolean =>
  checkRecord(bytes, at, at + size, true) === size && recordCheck(bytes, at, size) === check

export class Reader {
  readonly #commitLog: CommitLog
  readonly #log: Logger
  /** For spans: to read into fresh pages takes several times as long as into warm memory. */
  readonly #rooms: Buffer[] = []
  #roomsMade = 0
  /** Filled and looked at within one call. */
  readonly #run = new RecordRun()
  readonly #quick: QuickReads
  readonly #damaged: Counter

  constructor(commitLog: CommitLog, clock: Clock, log: Logger, numbers: Numbers) {
    this.#quick = new QuickReads(clock)
    this.#damaged = numbers.counter(DAMAGED_RECORDS)
    this.#commitLog = commitLog
    this.#log = log
  }

  /** Records that did not check when they were to be served. */
  get damagedRecords(): number {
    return this.#damaged.value
  }

  /** @throws ViewsDamaged */
  read(queue: ConsumeQueue | undefined, request: ReadRequest): ReadResult | Promise<ReadResult> {
    const min = queue?.min ?? 0
    const max = queue?.next ?? 0
    const { offset } = request
    if (queue === undefined || offset < min || offset >= max) {
      const nextOffset = offset < min ? min : max
      return result(offset === nextOffset ? 'at-end' : 'moved', NO_RECORDS, [], nextOffset, queue)
    }
    const { choose } = request
    const chosen = choose && this.#chooseInTail(queue, request, choose)
    if (chosen !== undefined) return chosen
    const selection = select(queue, request)
    if (selection.bytes === 0) return result('no-match', NO_RECORDS, [], selection.next, queue)
    if (choose !== undefined) return this.#chooseFromDisk(queue, selection, choose)
    const records = Buffer.allocUnsafe(selection.bytes)
    if (this.#copyTail(selection, records)) {
      return result('found', records, selection.offsets, selection.next, queue)
    }
    return this.#readDisk(queue, selection, records)
  }

  /** In place, as far as the tail has them; undefined: not even the first. */
  #chooseInTail(queue: ConsumeQueue, request: ReadRequest, choose: Choose): ReadResult | undefined {
    const chosen = new Chosen(choose)
    const walk = new EntryWalk(queue, request)
    const run = this.#run
    let part: TailPart | undefined
    for (let isMore = walk.next(); isMore; ) {
      if (part === undefined || !isWithin(part, walk)) {
        const isFirst = part === undefined
        part = this.#commitLog.lendTail(logPosition(walk.position), walk.size)
        if (part === undefined) return isFirst ? undefined : resultOf(chosen, walk.offset, queue)
      }
      run.begin(part.bytes)
      while (isMore && !run.isFull && isWithin(part, walk)) {
        run.add(walk.offset, walk.position - part.base, walk.size)
        isMore = walk.next()
      }
      const stoppedAt = chosen.lookAt(run)
      if (stoppedAt !== undefined) return resultOf(chosen, stoppedAt, queue)
    }
    return resultOf(chosen, walk.after, queue)
  }

  /** Through memory that is used again: few records are copied on. */
  async #chooseFromDisk(
    queue: ConsumeQueue,
    selection: Selection,
    choose: Choose,
  ): Promise<ReadResult> {
    const room = selection.bytes <= SPAN_BYTES_MAX ? this.#takeRoom() : undefined
    const records = (room ?? Buffer.allocUnsafe(selection.bytes)).subarray(0, selection.bytes)
    try {
      return chosenOf(await this.#readDisk(queue, selection, records), choose, queue, this.#run)
    } finally {
      this.#giveRoom(room)
    }
  }

  #readDisk(
    queue: ConsumeQueue,
    selection: Selection,
    records: Buffer,
  ): ReadResult | Promise<ReadResult> {
    const isRecent = selection.positions[0]! > this.#commitLog.end - PAGE_CACHE_BYTES
    const room = this.#takeRoom()
    const steps = fetches(selection, records, roomOf(room))
    let step = steps.next()
    try {
      while (!step.done && isRecent && this.#quick.takes()) {
        const { target, at, position, size } = step.value
        const read = (): boolean =>
          this.#commitLog.readSync(target, at, logPosition(position), size)
        step = steps.next(this.#quick.run(size, read))
      }
    } catch (error) {
      this.#giveRoom(room)
      throw error
    }
    const checked = (): ReadResult => this.#checked(queue, selection, records)
    if (!step.done) return this.#readLater(steps, step, room).then(checked)
    this.#giveRoom(room)
    return checked()
  }

  /** From this step on. */
  async #readLater(
    steps: Fetches,
    from: ReturnType<Fetches['next']>,
    room: Buffer | undefined,
  ): Promise<void> {
    try {
      for (let step = from; !step.done; ) {
        const { target, at, position, size } = step.value
        step = steps.next(await this.#commitLog.read(target, at, logPosition(position), size))
      }
    } finally {
      this.#giveRoom(room)
    }
  }

  /** undefined: all are taken. */
  #takeRoom(): Buffer | undefined {
    if (this.#rooms.length > 0 || this.#roomsMade === ROOMS_MAX) return this.#rooms.pop()
    this.#roomsMade++
    return Buffer.allocUnsafeSlow(SPAN_BYTES_MAX)
  }

  #giveRoom(room: Buffer | undefined): void {
    if (room !== undefined) this.#rooms.push(room)
  }

  #copyTail({ positions, sizes }: Selection, records: Buffer): boolean {
    let at = 0
    for (let i = 0; i < sizes.length; ) {
      const position = positions[i]!
      let size = sizes[i++]!
      while (i < sizes.length && positions[i] === position + size) size += sizes[i++]!
      if (!this.#commitLog.copyTail(records, at, logPosition(position), size)) return false
      at += size
    }
    return true
  }

  /**
   * The records read from the disk that match their index entries; others are left out and
   * reported.
   */
  #checked(queue: ConsumeQueue, selection: Selection, records: Buffer): ReadResult {
    const { sizes, checks, offsets, next } = selection
    const kept: QueueOffset[] = []
    let from = 0
    let to = 0
    for (let i = 0; i < sizes.length; i++) {
      const size = sizes[i]!
      if (isWhole(records, from, size, checks[i]!)) {
        if (from !== to) records.copyWithin(to, from, from + size)
        kept.push(offsets[i]!)
        to += size
      } else this.#reportDamage(queue, offsets[i]!, selection.positions[i]!, size)
      from += size
    }
    if (kept.length === 0) return result('no-match', NO_RECORDS, [], next, queue)
    return result('found', records.subarray(0, to), kept, next, queue)
  }

  #reportDamage(queue: ConsumeQueue, offset: number, position: number, size: number): void {
    // Retention took the segment between the look at the entries and the read.
    if (position < this.#commitLog.start) return
    this.#damaged.value++
    const { topic, queueId } = queue
    this.#log.error(
      { evt: 'record.damaged', topic, queueId, offset, position, size },
      `the record of '${topic}' queue ${queueId} offset ${offset}, ${size} bytes at log position ` +
        `${position}, is damaged and skipped`,
    )
  }

  /**
   * First offset in [min, next] whose record was stored at or after the time. Retention or a drop
   * may overtake the search. @throws ViewsDamaged
   */
  async offsetByTime(
    queue: ConsumeQueue,
    timestampMs: number,
    times: StoreTimes,
    nowMs: number,
  ): Promise<number> {
    const believed = times.believedAt(nowMs)
    const runs = [...times.runs]
    for (let i = 0; i < runs.length; i++) {
      if (!believed.mayHold(i, timestampMs)) continue
      const low = i === 0 ? queue.min : queue.offsetAt(runs[i]!.from)
      const next = runs[i + 1]
      const high = next === undefined ? queue.next : queue.offsetAt(next.from)
      // Records stored before the clock was set share one time, and that is late enough.
      const found = believed.isUnset(i) ? low : await this.#searchRun(queue, low, high, timestampMs)
      if (found < Math.min(high, queue.next)) return Math.max(found, queue.min)
    }
    return queue.next
  }

  /** The same among [from, to), where times rise; `to` when there is none. */
  async #searchRun(
    queue: ConsumeQueue,
    from: number,
    to: number,
    timestampMs: number,
  ): Promise<number> {
    let low = Math.max(from, queue.min)
    let high = to
    while (low < high) {
      const middle = Math.floor((low + high) / 2)
      // A damaged record does not say its time; the next whole one speaks for it.
      let probe = middle
      let time = await this.#timeOf(queue, probe)
      while (time === undefined && probe + 1 < Math.min(high, queue.next)) {
        probe = Math.max(probe + 1, queue.min)
        time = await this.#timeOf(queue, probe)
      }
      if (time !== undefined && time < timestampMs) low = probe + 1
      else high = middle
      low = Math.max(low, queue.min)
    }
    return low
  }

  async #timeOf(queue: ConsumeQueue, offset: number): Promise<number | undefined> {
    if (offset < queue.min || offset >= queue.next) return undefined
    const index = offset - queue.shift
    const block = queue.block(Math.floor(index / BLOCK_ENTRIES))
    const slot = index % BLOCK_ENTRIES
    const size = entrySize(block, slot)
    if (size === 0) return undefined
    const check = entryCheck(block, slot)
    const record = Buffer.allocUnsafe(size)
    const isRead = await this.#commitLog.read(
      record,
      0,
      logPosition(entryPosition(block, slot)),
      size,
    )
    if (!isRead || !isWhole(record, 0, size, check)) return undefined
    return new RecordView(record).storeTimestamp
  }
}

function resultOf(chosen: Chosen, nextOffset: number, queue: ConsumeQueue): ReadResult {
  const { offsets } = chosen
  const status = offsets.length === 0 ? 'no-match' : 'found'
  return result(status, chosen.records(), offsets, nextOffset, queue)
}

const isWithin = ({ base, used }: TailPart, { position, size }: EntryWalk): boolean =>
  position >= base && position + size <= base + used

function chosenOf(
  read: ReadResult,
  choose: Choose,
  queue: ConsumeQueue,
  run: RecordRun,
): ReadResult {
  const { records, offsets, nextOffset } = read
  const chosen = new Chosen(choose)
  for (let at = 0, i = 0; at < records.length; ) {
    for (run.begin(records); at < records.length && !run.isFull; i++) {
      const size = getI32(records, at)
      run.add(offsets[i]!, at, size)
      at += size
    }
    const stoppedAt = chosen.lookAt(run)
    if (stoppedAt !== undefined) return resultOf(chosen, stoppedAt, queue)
  }
  return resultOf(chosen, nextOffset, queue)
}

function result(
  status: ReadResult['status'],
  records: Buffer,
  offsets: readonly QueueOffset[],
  nextOffset: number,
  queue: ConsumeQueue | undefined,
): ReadResult {
  return {
    status,
    records,
    offsets,
    nextOffset: queueOffset(nextOffset),
    minOffset: queueOffset(queue?.min ?? 0),
    maxOffset: queueOffset(queue?.next ?? 0),
  }
}
