// Popped messages as a client of RocketMQ reads them: the records, and where each stands, from
// which the client makes its handles.
import { PROPERTIES_BYTES_MAX } from '../../model/limits.ts'
import type { Popped, PoppedMessage } from '../../model/message.ts'
import { isRetryTopic } from '../../model/names.ts'
import type { OwnProperties } from '../../model/own-properties.ts'
import { editProperties, PROPERTY } from '../../model/properties.ts'
import {
  draftOf,
  RecordView,
  recordBytes,
  setReconsumeTimes,
  writeRecord,
} from '../../model/record.ts'
import { originalTopic } from '../../model/routing-name.ts'
import {
  type PoppedQueue,
  printHandle,
  printOffsets,
  printStartOffsets,
  type RetryKind,
} from '../../remoting/requests/pop.ts'

export interface PopContext {
  readonly topic: string
  readonly group: string
  readonly brokerName: string
  readonly invisibleTime: number
  readonly reviveQid: number
  readonly ordered: boolean
  readonly ownProperties: OwnProperties
}

export interface PoppedAnswer {
  readonly fields: {
    readonly startOffsetInfo: string
    readonly msgOffsetInfo: string
    readonly orderCountInfo?: string | undefined
  }
  /** Back to back. */
  readonly records: readonly Buffer[]
}

/** Bytes that an answer keeps in memory, for each that it shows. */
const KEPT_PER_BYTE_MAX = 8

interface Queue extends PoppedQueue {
  readonly topic: string
  readonly offsets: number[]
}

export function poppedAnswer({ poppedAt, messages }: Popped, context: PopContext): PoppedAnswer {
  const queues: Queue[] = []
  let last: Queue | undefined
  for (const message of messages) {
    const { topic, queueId, offset } = message
    if (last?.queueId !== queueId || last.topic !== topic) {
      last = queues.find((queue) => queue.queueId === queueId && queue.topic === topic)
      if (last === undefined) {
        const retryKind: RetryKind = isRetryTopic(topic) ? '1' : '0'
        last = { topic, queueId, retryKind, offsets: [] }
        queues.push(last)
      }
    }
    last.offsets.push(offset)
  }
  // What came again may stand behind what is new; clients look their messages up in order.
  for (const { offsets } of queues) offsets.sort((a, b) => a - b)
  const records = messages.map((message) =>
    context.ownProperties.shown(named(message, poppedAt, context)),
  )
  return {
    fields: {
      startOffsetInfo: printStartOffsets(queues),
      msgOffsetInfo: printOffsets(queues),
      orderCountInfo: context.ordered ? orderCounts(messages) : undefined,
    },
    records: joined(records),
  }
}

/**
 * Records that stand behind one another in memory, as they were read, are one piece. Few bytes of
 * much memory are copied, for it is kept until the client has taken them.
 */
function joined(records: readonly Buffer[]): Buffer[] {
  const pieces = piecesOf(records)
  const kept = pieces.reduce((sum, { buffer }) => sum + buffer.byteLength, 0)
  const bytes = pieces.reduce((sum, { length }) => sum + length, 0)
  return kept > KEPT_PER_BYTE_MAX * bytes ? [Buffer.concat(pieces)] : pieces
}

function piecesOf(records: readonly Buffer[]): Buffer[] {
  const pieces: Buffer[] = []
  let from = 0
  while (from < records.length) {
    const { buffer, byteOffset } = records[from]!
    let end = byteOffset + records[from]!.length
    let to = from + 1
    while (
      to < records.length &&
      records[to]!.buffer === buffer &&
      records[to]!.byteOffset === end
    ) {
      end += records[to++]!.length
    }
    pieces.push(
      to === from + 1 ? records[from]! : Buffer.from(buffer, byteOffset, end - byteOffset),
    )
    from = to
  }
  return pieces
}

/** Failed attempts of each message, and of each queue's first one. */
function orderCounts(messages: readonly PoppedMessage[]): string {
  const counts = messages.map(
    ({ queueId, offset, attempt }) => `0 qo${queueId}%${offset} ${attempt - 1}`,
  )
  const queues = new Set(messages.map(({ queueId }) => queueId))
  return [...counts, ...[...queues].map((queueId) => `0 ${queueId} 0`)].join(';')
}

/**
 * One that was received before comes under its first topic, with the attempts that failed; from the
 * retry topic, where clients could not name it, with its handle.
 */
function named(message: PoppedMessage, poppedAt: number, context: PopContext): Buffer {
  const { record, topic, attempt } = message
  const view = new RecordView(record)
  if (!isRetryTopic(topic) || topic === context.topic) {
    if (context.ordered || view.reconsumeTimes === attempt - 1) return record
    return setReconsumeTimes(Buffer.from(record), attempt - 1)
  }
  const handle = printHandle({
    startOffset: message.offset,
    popTime: poppedAt,
    invisibleTime: context.invisibleTime,
    reviveQid: context.reviveQid,
    retryKind: '1',
    brokerName: context.brokerName,
    queueId: message.queueId,
    offset: message.offset,
  })
  const draft = {
    ...draftOf(view),
    topic: originalTopic(view),
    reconsumeTimes: attempt - 1,
    properties: withHandle(view.propertyBytes, handle),
  }
  const bytes = Buffer.allocUnsafe(recordBytes(draft))
  writeRecord(bytes, 0, draft, view)
  return bytes
}

function withHandle(properties: Buffer, handle: string): Buffer {
  const added: [string, string][] = [[PROPERTY.popCheck, handle]]
  const shown = editProperties(properties, added, NOT_SHOWN)
  return shown.length <= PROPERTIES_BYTES_MAX ? shown : editProperties(properties, added, NO_ROOM)
}

const NOT_SHOWN: ReadonlySet<string> = new Set([PROPERTY.retryTopic])
/** What a broker adds itself counts less than the handle. */
const NO_ROOM: ReadonlySet<string> = new Set([
  ...NOT_SHOWN,
  PROPERTY.cluster,
  PROPERTY.messageRegion,
  PROPERTY.traceOn,
])
