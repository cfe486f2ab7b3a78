// The requests of a consumer per message, of TrivetMQ and of RocketMQ 5: messages with their
// handles in, handles out. No state, no retries.
import { PROPERTY } from '../../model/properties.ts'
import { type RecordView, recordsOf } from '../../model/record.ts'
import { REQUEST, RESPONSE } from '../../remoting/codes.ts'
import type { RemotingConnection } from '../../remoting/connection.ts'
import { readFields, writeFields } from '../../remoting/layout.ts'
import {
  type BatchAck,
  CHANGE_INVISIBLE_TIME,
  CHANGE_RESPONSE,
  encodeBatchAck,
  NOTIFICATION,
  NOTIFICATION_RESPONSE,
  ORDERED_REVIVE_QUEUE,
  POP,
  POP_RESPONSE,
  type PopFields,
  type PopHandle,
  parseHandle,
  parseOffsets,
  popRetryTopic,
  printHandle,
} from '../../remoting/requests/pop.ts'
import { type CallOptions, call } from './calls.ts'
import { responseError } from './response-errors.ts'

/** A held request is answered within the time that it asks for. */
const ANSWER_MS = 5_000

export interface PoppedRecord {
  readonly record: RecordView
  readonly handle: PopHandle
  /** Failed attempts in its place, beyond those that the record counts. */
  readonly retries: number
}

/** Empty when there was nothing in time. */
export async function popMessages(
  connection: RemotingConnection,
  brokerName: string,
  pop: PopFields,
  { signal }: CallOptions,
): Promise<PoppedRecord[]> {
  const fields = writeFields(POP, pop)
  const timeoutMs = pop.pollTime + ANSWER_MS
  const response = await connection.request(REQUEST.popMessage, { fields, timeoutMs, signal })
  const { code } = response
  if (code === RESPONSE.pollingTimeout || code === RESPONSE.pullNotFound) return []
  if (code !== RESPONSE.success) {
    throw responseError(response, `popping from '${pop.topic}' on ${connection.address}`)
  }
  const answer = readFields(POP_RESPONSE, response.fields)
  const starts = new Map(
    parseOffsets(answer.startOffsetInfo ?? '')
      .filter(({ retryKind }) => retryKind === '0')
      .map(({ queueId, offsets }) => [queueId, offsets[0]!]),
  )
  const { popTime, invisibleTime, reviveQid } = answer
  const counts = orderCounts(answer.orderCountInfo)
  return [...recordsOf(response.body)].map((record) => {
    const { queueId, queueOffset: offset } = record
    const given = record.property(PROPERTY.popCheck)
    const handle: PopHandle = (given === undefined ? undefined : parseHandle(given)) ?? {
      ...{ popTime, invisibleTime, reviveQid, brokerName, queueId, offset },
      startOffset: starts.get(queueId) ?? offset,
      retryKind: '0',
    }
    return { record, handle, retries: counts?.get(`qo${queueId}%${offset}`) ?? 0 }
  })
}

/** `0 qo2%17 1;0 2 0`: of a message by its place, and of a whole queue. */
function orderCounts(info = ''): ReadonlyMap<string, number> | undefined {
  if (info === '') return undefined
  return new Map(
    info.split(';').map((entry) => {
      const [, place = '', count = ''] = entry.split(' ')
      return [place, Number(count)]
    }),
  )
}

/** Whether a POP would find something; at Apache's broker perhaps without regard to its filter. */
export async function isThereToPop(
  connection: RemotingConnection,
  asked: Parameters<typeof writeFields<typeof NOTIFICATION>>[1],
  { signal }: CallOptions,
): Promise<boolean> {
  const options = { timeoutMs: asked.pollTime + ANSWER_MS, signal }
  const what = `asking for messages of '${asked.topic}'`
  const { fields } = await call(
    connection,
    REQUEST.notification,
    NOTIFICATION,
    asked,
    what,
    options,
  )
  return readFields(NOTIFICATION_RESPONSE, fields).hasMsg
}

/** All of one broker; a handle that holds no longer is passed over by it. */
export async function ackPopped(
  connection: RemotingConnection,
  brokerName: string,
  acks: readonly BatchAck[],
  options: CallOptions,
): Promise<void> {
  const body = encodeBatchAck(brokerName, acks)
  const response = await connection.request(REQUEST.batchAckMessage, { ...options, body })
  if (response.code === RESPONSE.success || response.code === RESPONSE.noMessage) return
  throw responseError(response, `acknowledging on ${connection.address}`)
}

/** The time begins again under the new handle; undefined: the handle holds no longer. */
export async function changeInvisibleTime(
  connection: RemotingConnection,
  of: { readonly group: string; readonly topic: string; readonly handle: PopHandle },
  invisibleMs: number,
  options: CallOptions & { readonly isSuspended?: boolean },
): Promise<PopHandle | undefined> {
  const { group, topic, handle } = of
  const fields = writeFields(CHANGE_INVISIBLE_TIME, {
    consumerGroup: group,
    topic: realTopic(group, topic, handle),
    queueId: handle.queueId,
    extraInfo: printHandle(handle),
    offset: handle.offset,
    invisibleTime: invisibleMs,
    suspend: options.isSuspended,
  })
  const response = await connection.request(REQUEST.changeInvisibleTime, { ...options, fields })
  if (response.code === RESPONSE.noMessage) return undefined
  if (response.code !== RESPONSE.success) {
    throw responseError(response, `changing a time in '${topic}' on ${connection.address}`)
  }
  const { popTime, invisibleTime, reviveQid } = readFields(CHANGE_RESPONSE, response.fields)
  const isInOrder = handle.reviveQid === ORDERED_REVIVE_QUEUE
  const startOffset = isInOrder ? handle.startOffset : handle.offset
  return { ...handle, startOffset, popTime, invisibleTime, reviveQid }
}

/** As RocketMQ's ExtraInfoUtil names it. */
function realTopic(group: string, topic: string, { retryKind }: PopHandle): string {
  if (retryKind === '0') return topic
  return retryKind === '1' ? popRetryTopic(group, topic) : `%RETRY%${group}+${topic}`
}
