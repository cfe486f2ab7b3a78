// Answers reads by queue offset: entries first, then their records in one buffer, from the tail cache
// when it has them all, else from the disk in spans. A record that does not check is never served.
import type { Logger } from '../log.ts'
import type { QueueOffset } from '../model/positions.ts'
import { queueOffset } from '../model/positions.ts'
import { checkRecord } from '../model/record.ts'
import type { CommitLog } from './commit-log.ts'
import {
  BLOCK_ENTRIES,
  type ConsumeQueue,
  entryCheck,
  entryPosition,
  entrySize,
  entryTagHash,
} from './consume-queue.ts'
import { recordCheck } from './record-scan.ts'
import type { ReadRequest, ReadResult } from './store.ts'

/** Entries looked at by one read whose filter matches none of them. */
const SCAN_ENTRIES_MAX = 16_384
const NO_RECORDS = Buffer.alloc(0)

/** Entries chosen for one answer. */
class Selection {
  readonly positions: number[] = []
  readonly sizes: number[] = []
  readonly checks: number[] = []
  readonly offsets: QueueOffset[] = []
  bytes = 0

  add(block: Buffer, slot: number, offset: number): void {
    const size = entrySize(block, slot)
    this.positions.push(entryPosition(block, slot))
    this.sizes.push(size)
    this.checks.push(entryCheck(block, slot))
    this.offsets.push(queueOffset(offset))
    this.bytes += size
  }
}

export class Reader {
  readonly #commitLog: CommitLog
  readonly #log: Logger
  /** Records that did not check when they were to be served. */
  damagedRecords = 0

  constructor(commitLog: CommitLog, log: Logger) {
    this.#commitLog = commitLog
    this.#log = log
  }

  read(queue: ConsumeQueue | undefined, request: ReadRequest): ReadResult | Promise<ReadResult> {
    const min = queue?.min ?? 0
    const max = queue?.next ?? 0
    const { offset } = request
    if (queue === undefined || offset < min || offset > max) {
      const nextOffset = offset < min ? min : max
      return emptyResult(offset === nextOffset ? 'at-end' : 'moved', nextOffset, min, max)
    }
    if (offset === max) return emptyResult('at-end', max, min, max)
    const selection = new Selection()
    const nextOffset = select(queue, request, selection)
    if (selection.offsets.length === 0) return emptyResult('no-match', nextOffset, min, max)
    const records = this.#fromTail(selection)
    if (records !== undefined) return foundResult(records, selection.offsets, nextOffset, min, max)
    return this.#fromDisk(selection, queue, nextOffset)
  }

  #fromTail(selection: Selection): Buffer | undefined {
    const { positions, sizes } = selection
    const records = Buffer.allocUnsafe(selection.bytes)
    let at = 0
    for (let i = 0; i < sizes.length; ) {
      const position = positions[i]!
      let size = sizes[i++]!
      while (i < sizes.length && positions[i] === position + size) size += sizes[i++]!
      if (!this.#commitLog.copyTail(records, at, position as never, size)) return undefined
      at += size
    }
    return records
  }

  async #fromDisk(
    selection: Selection,
    queue: ConsumeQueue,
    nextOffset: number,
  ): Promise<ReadResult> {
    const { positions, sizes, checks, offsets } = selection
    const records = Buffer.allocUnsafe(selection.bytes)
    const kept: QueueOffset[] = []
    let at = 0
    for (let i = 0; i < sizes.length; i++) {
      const size = sizes[i]!
      const position = positions[i]!
      const isRead = size > 0 && (await this.#commitLog.read(records, at, position as never, size))
      if (isRead && isWhole(records, at, size, checks[i]!)) {
        kept.push(offsets[i]!)
        at += size
      } else this.#reportDamage(queue, offsets[i]!, position, size)
    }
    const { min, next } = queue
    if (kept.length === 0) return emptyResult('no-match', nextOffset, min, next)
    return foundResult(records.subarray(0, at), kept, nextOffset, min, next)
  }

  #reportDamage(queue: ConsumeQueue, offset: number, position: number, size: number): void {
    if (position < this.#commitLog.start) return
    this.damagedRecords++
    const { topic, queueId } = queue
    this.#log.error(
      { evt: 'record.damaged', topic, queueId, offset, position, size },
      `the record of ${topic}/${queueId} at offset ${offset} (log position ${position}) is damaged: skipped`,
    )
  }
}

/** Fills the selection; answers the offset to go on at. */
function select(queue: ConsumeQueue, request: ReadRequest, into: Selection): number {
  const { hashes, maxMessages, maxBytes } = request
  const end = Math.min(queue.next, request.offset + SCAN_ENTRIES_MAX)
  let offset: number = request.offset
  while (offset < end) {
    const index = offset - queue.shift
    const block = queue.block(Math.floor(index / BLOCK_ENTRIES))
    let slot = index % BLOCK_ENTRIES
    for (; slot < BLOCK_ENTRIES && offset < end; slot++, offset++) {
      if (block === undefined || entrySize(block, slot) === 0) continue
      if (hashes !== undefined && !hashes.has(entryTagHash(block, slot))) continue
      const isFirst = into.offsets.length === 0
      if (!isFirst && into.bytes + entrySize(block, slot) > maxBytes) return offset
      into.add(block, slot, offset)
      if (into.offsets.length >= maxMessages) return offset + 1
    }
  }
  return offset
}

/** Is this the record that was indexed, byte for byte? */
export const isWhole = (bytes: Buffer, at: number, size: number, check: number): boolean =>
  checkRecord(bytes, at, at + size, true) === size && recordCheck(bytes, at, size) === check

function emptyResult(
  status: ReadResult['status'],
  nextOffset: number,
  min: number,
  max: number,
): ReadResult {
  return {
    status,
    records: NO_RECORDS,
    offsets: [],
    nextOffset: queueOffset(nextOffset),
    minOffset: queueOffset(min),
    maxOffset: queueOffset(max),
  }
}

function foundResult(
  records: Buffer,
  offsets: readonly QueueOffset[],
  nextOffset: number,
  min: number,
  max: number,
): ReadResult {
  return {
    status: 'found',
    records,
    offsets,
    nextOffset: queueOffset(nextOffset),
    minOffset: queueOffset(min),
    maxOffset: queueOffset(max),
  }
}
