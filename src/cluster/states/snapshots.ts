// Snapshots of one queue of the state topic: what a gateway has made of its records up to an
// offset, written behind them in the queue itself. A gateway that starts reads the newest one and
// what came after its offset, so neither the age of the topic nor a retention that takes its old
// records matters. It is found by its key; one that is not whole is passed over.
import type { PublishReceipt, PullRequest, PullResult } from '../../model/message.ts'
import { type QueueOffset, queueOffset } from '../../model/positions.ts'
import { RecordView, recordsOf } from '../../model/record.ts'
import { EVERY_TAG } from '../../model/tag-filter.ts'
import type { QueueRef } from '../../remoting/requests/queue.ts'
import { decodeStateRecord, encodeStateRecord, type StateRecord } from './state-record.ts'
import type { ViewImage } from './state-view.ts'

const CHUNK_BYTES = 256 * 1024
const READ_BYTES = 1024 * 1024

type Asked = Pick<StateRecord, 'kind' | 'id'> & Partial<StateRecord>

interface Parts {
  readonly queue: QueueRef
  write(asked: Asked): Promise<PublishReceipt>
  pull(request: PullRequest): Promise<PullResult>
  /** Records of the topic with the key, on the queue's broker, newest first. */
  find(brokerName: string, key: string): Promise<readonly Buffer[]>
}

export interface Snapshot {
  /** What is to be read next. */
  readonly at: QueueOffset
  readonly image: ViewImage
  /** The masters that keep states. */
  readonly brokerNames: readonly string[]
}

/** At the end of a snapshot: where it is, and all of it but the entries. */
interface Head extends Omit<ViewImage, 'entries'> {
  readonly at: number
  readonly from: number
  readonly chunks: number
  readonly brokerNames: readonly string[]
}

/** The masters that keep states, as the newest snapshot names them. */
export async function snapshotBrokers(
  parts: Omit<Parts, 'write'>,
): Promise<readonly string[] | undefined> {
  const { find, queue } = parts
  for (const bytes of await find(queue.brokerName, `e-${snapshotId(queue)}`)) {
    const record = new RecordView(bytes)
    const stored = decodeStateRecord(record)
    const head = stored?.kind === 'snapshotEnd' ? decodeHead(stored.value) : undefined
    if (head !== undefined && (await isThere(parts, record))) return head.brokerNames
  }
  return undefined
}

const snapshotId = ({ brokerName, queueId }: QueueRef): string => `${brokerName}/${queueId}`

/** The newest whole one. Rejects when the queue's broker does not answer. */
export async function loadSnapshot(parts: Omit<Parts, 'write'>): Promise<Snapshot | undefined> {
  const { queue, find } = parts
  for (const bytes of await find(queue.brokerName, `e-${snapshotId(queue)}`)) {
    const record = new RecordView(bytes)
    const stored = decodeStateRecord(record)
    if (stored?.kind !== 'snapshotEnd' || record.queueId !== queue.queueId) continue
    const head = decodeHead(stored.value)
    if (head === undefined) continue
    const { at, from, chunks, brokerNames, ...image } = head
    const end = record.queueOffset
    const entries = await readChunks(parts, { at, from, chunks, end, gateway: stored.gateway })
    if (entries === undefined || (chunks === 0 && !(await isThere(parts, record)))) continue
    return { at: queueOffset(at), image: { ...image, entries }, brokerNames }
  }
  return undefined
}

/** Apache's brokers find what was in a topic that was deleted, and may have been made again. */
async function isThere(
  { queue, pull }: Omit<Parts, 'write'>,
  { queueOffset: offset, storeTimestamp }: RecordView,
): Promise<boolean> {
  const shape = { maxMessages: 1, maxBytes: READ_BYTES, filter: EVERY_TAG, waitMs: 0 }
  const { records } = await pull({ ...queue, ...shape, offset })
  for (const record of recordsOf(records)) {
    if (record.queueOffset === offset) return record.storeTimestamp === storeTimestamp
  }
  return false
}

/** undefined: it is not whole any more. */
async function readChunks(
  { queue, pull }: Omit<Parts, 'write'>,
  of: Pick<Head, 'at' | 'from' | 'chunks'> & { readonly end: number; readonly gateway: string },
): Promise<StateRecord[] | undefined> {
  const entries: StateRecord[] = []
  const shape = { maxMessages: 32, maxBytes: READ_BYTES, filter: EVERY_TAG, waitMs: 0 }
  let next = 0
  for (let offset = of.from; offset < of.end && next < of.chunks; ) {
    const result = await pull({ ...queue, ...shape, offset: queueOffset(offset) })
    // It may name one behind records that it has not.
    let behind = result.nextOffset
    for (const record of recordsOf(result.records)) {
      behind = queueOffset(record.queueOffset + 1)
      const stored = decodeStateRecord(record)
      if (stored?.kind !== 'snapshot' || stored.number !== of.at) continue
      if (stored.gateway !== of.gateway || stored.expected !== next) continue
      entries.push(...unpacked(stored.value))
      next++
    }
    if (behind <= offset) return undefined
    offset = behind
  }
  return next === of.chunks ? entries : undefined
}

/** What the view was like at the offset. */
export async function saveSnapshot(
  { queue, write }: Pick<Parts, 'queue' | 'write'>,
  { at, image, brokerNames }: Snapshot,
): Promise<void> {
  const { entries, ...rest } = image
  let from: number | undefined
  let chunks = 0
  for (const value of packed(entries)) {
    const { queueOffset: offset } = await write({
      ...{ kind: 'snapshot', id: '', number: at, expected: chunks++, value },
    })
    from ??= offset
  }
  const head: Head = { ...rest, at, from: from ?? at, chunks, brokerNames }
  const value = Buffer.from(JSON.stringify(head))
  await write({ kind: 'snapshotEnd', id: snapshotId(queue), number: at, value })
}

function* packed(entries: Iterable<StateRecord>): Generator<Buffer> {
  let parts: Buffer[] = []
  let bytes = 0
  for (const entry of entries) {
    const encoded = encodeStateRecord(entry)
    if (bytes > 0 && bytes + encoded.length > CHUNK_BYTES) {
      yield Buffer.concat(parts)
      parts = []
      bytes = 0
    }
    const length = Buffer.alloc(4)
    length.writeUInt32BE(encoded.length)
    parts.push(length, encoded)
    bytes += 4 + encoded.length
  }
  if (parts.length > 0) yield Buffer.concat(parts)
}

/** Up to where it makes sense. */
function* unpacked(chunk: Buffer): Generator<StateRecord> {
  for (let at = 0; at + 4 <= chunk.length; ) {
    const end = at + 4 + chunk.readUInt32BE(at)
    const entry = decodeStateRecord({ body: chunk.subarray(at + 4, end) })
    if (end > chunk.length || entry === undefined) return
    yield entry
    at = end
  }
}

/** undefined: it is none. */
function decodeHead(value: Buffer): Head | undefined {
  try {
    const head = JSON.parse(value.toString()) as Partial<Head>
    const { at, from, chunks, nowMs, seenMs, heard, brokerNames } = head
    const areCounts = [at, from, chunks, nowMs, seenMs].every(
      (n) => Number.isSafeInteger(n) && n! >= 0,
    )
    const isHead = areCounts && areNames(brokerNames) && Array.isArray(heard)
    const areHeard = isHead && heard.every(([name, ms]) => areNames([name]) && Number.isFinite(ms))
    return areHeard ? (head as Head) : undefined
  } catch {
    return undefined
  }
}

export const areNames = (names: unknown): names is string[] =>
  Array.isArray(names) && names.length > 0 && names.every((name) => typeof name === 'string')
