// The requests a client makes of a broker, one function each: typed values in, typed values or a
// BrokerError out. No state, no retries.
import type { Buffer } from 'node:buffer'
import { BrokerError } from '../../errors.ts'
import { SCAN, scanProperties } from '../../model/message-scan.ts'
import { AUTO_CREATE_TOPIC } from '../../model/names.ts'
import { encodeProperties, PROPERTY } from '../../model/properties.ts'
import { SYS_FLAG } from '../../model/record.ts'
import { encodeBatchBody } from '../../remoting/batch-body.ts'
import { REQUEST, RESPONSE } from '../../remoting/codes.ts'
import type { Command } from '../../remoting/command.ts'
import type { RemotingConnection } from '../../remoting/connection.ts'
import type { Fields } from '../../remoting/header/header.ts'
import { type Layout, readFields, type Values, writeFields } from '../../remoting/layout.ts'
import {
  CONSUMER_GROUP,
  decodeConsumerIds,
  encodeHeartbeat,
  type Heartbeat,
  UNREGISTER_CLIENT,
} from '../../remoting/requests/clients.ts'
import {
  OFFSET,
  QUERY_OFFSET,
  QUEUE,
  SEARCH_OFFSET,
  UPDATE_OFFSET,
} from '../../remoting/requests/offsets.ts'
import { PULL, PULL_RESPONSE, type PullFields } from '../../remoting/requests/pull.ts'
import type { QueueRef } from '../../remoting/requests/queue.ts'
import { decodeLockedQueues, encodeLockRequest } from '../../remoting/requests/queue-locks.ts'
import { RECALL } from '../../remoting/requests/recall.ts'
import { SEND_RESPONSE, SEND_V2 } from '../../remoting/requests/send.ts'
import { SEND_BACK } from '../../remoting/requests/send-back.ts'
import { END_TRANSACTION } from '../../remoting/requests/transactions.ts'
import type { EncodedMessage } from './outgoing.ts'
import { responseError } from './response-errors.ts'

export interface CallOptions {
  readonly timeoutMs?: number | undefined
  readonly signal?: AbortSignal | undefined
}

/** Queues of a topic that a send creates, as RocketMQ's producers ask for. */
const AUTO_CREATE_QUEUES = 4

/** Stored, though perhaps not yet flushed or replicated as the broker was set to. */
const STORED: ReadonlyMap<number, SendAnswer['status']> = new Map([
  [RESPONSE.success, 'stored'],
  [RESPONSE.flushDiskTimeout, 'not-flushed'],
  [RESPONSE.flushSlaveTimeout, 'not-replicated'],
  [RESPONSE.slaveNotAvailable, 'not-replicated'],
])

export interface SendAnswer {
  readonly status: 'stored' | 'not-flushed' | 'not-replicated'
  /** One per message. */
  readonly offsetMessageIds: readonly string[]
  readonly queueId: number
  /** Of the first message. */
  readonly queueOffset: number
  readonly recallHandle: string | undefined
}

export interface SendRequest {
  readonly producerGroup: string
  readonly queue: QueueRef
  readonly bornTimestamp: number
  readonly messages: readonly Pick<EncodedMessage, 'body' | 'properties' | 'isHalf'>[]
}

/** One message, or several of one topic as one batch. */
export async function sendMessages(
  connection: RemotingConnection,
  request: SendRequest,
  options: CallOptions,
): Promise<SendAnswer> {
  const { code, fields, body } = sendParts(request)
  const response = await connection.request(code, { ...options, fields, body })
  const status = STORED.get(response.code)
  if (status === undefined) {
    throw responseError(response, `sending to '${request.queue.topic}' on ${connection.address}`)
  }
  const answer = readFields(SEND_RESPONSE, response.fields)
  return {
    status,
    offsetMessageIds: answer.msgId.split(','),
    queueId: answer.queueId,
    queueOffset: answer.queueOffset,
    recallHandle: answer.recallHandle,
  }
}

/** What became of a half message. 'unknown' has no answer: it is not to be sent. */
export async function endTransaction(
  connection: RemotingConnection,
  end: Values<typeof END_TRANSACTION>,
  options: CallOptions,
): Promise<void> {
  const fields = writeFields(END_TRANSACTION, end)
  const response = await connection.request(REQUEST.endTransaction, { ...options, fields })
  accepted(response, `ending the transaction '${end.transactionId}' on ${connection.address}`)
}

/** The right to the topic is that of a send. */
export async function recallMessage(
  connection: RemotingConnection,
  request: { producerGroup: string; topic: string; recallHandle: string },
  options: CallOptions,
): Promise<void> {
  const fields = writeFields(RECALL, request)
  const response = await connection.request(REQUEST.recallMessage, { ...options, fields })
  accepted(response, `recalling a message to '${request.topic}' on ${connection.address}`)
}

/** @throws BrokerError CLIENT_NOT_FOUND when the one that asked is gone */
export async function sendReply(
  connection: RemotingConnection,
  request: SendRequest,
  options: CallOptions,
): Promise<void> {
  const { fields, body } = sendParts(request)
  const response = await connection.request(REQUEST.sendReplyV2, { ...options, fields, body })
  if (response.code === RESPONSE.systemError) {
    throw new BrokerError('CLIENT_NOT_FOUND', `no reply is possible: ${response.remark ?? ''}`)
  }
  accepted(response, `a reply by ${connection.address}`)
}

/** Written and forgotten. */
export function sendMessageOneWay(connection: RemotingConnection, request: SendRequest): void {
  const { code, fields, body } = sendParts(request)
  connection.oneWay(code, { fields, body })
}

const BATCH_PROPERTIES = encodeProperties([[PROPERTY.wait, 'true']]).toString()

function sendParts({ producerGroup, queue, bornTimestamp, messages }: SendRequest): {
  code: number
  fields: Fields
  body: Uint8Array
} {
  const first = messages[0]!
  // Apache's broker takes no request without a body, and a batch whose one message has none.
  const isBatch = messages.length > 1 || (first.body.length === 0 && canBeBatched(first))
  const fields = writeFields(SEND_V2, {
    producerGroup,
    topic: queue.topic,
    defaultTopic: AUTO_CREATE_TOPIC,
    defaultTopicQueueNums: AUTO_CREATE_QUEUES,
    queueId: queue.queueId,
    sysFlag: first.isHalf ? SYS_FLAG.transactionPrepared : 0,
    bornTimestamp,
    flag: 0,
    properties: isBatch ? BATCH_PROPERTIES : first.properties.toString(),
    reconsumeTimes: 0,
    unitMode: false,
    batch: isBatch,
  })
  if (!isBatch) return { code: REQUEST.sendMessageV2, fields, body: first.body }
  const items = messages.map(({ body, properties }) => ({ flag: 0, body, properties }))
  return { code: REQUEST.sendBatchMessage, fields, body: encodeBatchBody(items) }
}

/** In a batch these would be lost. */
const ALONE = SCAN.delayed | SCAN.priority | SCAN.prepared

const canBeBatched = ({ properties }: Pick<EncodedMessage, 'properties'>): boolean =>
  (scanProperties(properties) & ALONE) === 0

export interface PullAnswer {
  readonly status: 'found' | 'at-end' | 'no-match' | 'moved'
  /** Back-to-back records. */
  readonly records: Buffer
  readonly nextOffset: number
  readonly minOffset: number
  readonly maxOffset: number
  /** 'moved', because an operator moved the group. */
  readonly isReset: boolean
}

/** By it RocketMQ 5 tells a group that was moved from one that asks for what is no longer there. */
const RESET_REMARK = 'OFFSET_RESET'

const PULL_STATUS: ReadonlyMap<number, PullAnswer['status']> = new Map([
  [RESPONSE.success, 'found'],
  [RESPONSE.pullNotFound, 'at-end'],
  [RESPONSE.pullRetryImmediately, 'no-match'],
  [RESPONSE.pullOffsetMoved, 'moved'],
])

export async function pull(
  connection: RemotingConnection,
  fields: PullFields,
  options: CallOptions,
): Promise<PullAnswer> {
  const response = await connection.request(REQUEST.pullMessage, {
    ...options,
    fields: writeFields(PULL, fields),
  })
  const status = PULL_STATUS.get(response.code)
  if (status === undefined) {
    throw responseError(
      response,
      `reading queue ${fields.queueId} of '${fields.topic}' on ${connection.address}`,
    )
  }
  const answer = readFields(PULL_RESPONSE, response.fields)
  return {
    status,
    records: response.body,
    nextOffset: answer.nextBeginOffset,
    minOffset: answer.minOffset,
    maxOffset: answer.maxOffset,
    isReset: status === 'moved' && response.remark === RESET_REMARK,
  }
}

/** undefined when the group never committed here. */
export async function committedOffset(
  connection: RemotingConnection,
  group: string,
  queue: QueueRef,
  options: CallOptions,
): Promise<number | undefined> {
  const asked = `the offset of group '${group}' in '${queue.topic}' on ${connection.address}`
  const request = { consumerGroup: group, topic: queue.topic, queueId: queue.queueId }
  const fields = writeFields(QUERY_OFFSET, request)
  const response = await connection.request(REQUEST.queryConsumerOffset, { ...options, fields })
  if (response.code === RESPONSE.queryNotFound) return undefined
  return readFields(OFFSET, accepted(response, asked).fields).offset
}

export async function commitOffset(
  connection: RemotingConnection,
  group: string,
  queue: QueueRef,
  offset: number,
  options: CallOptions,
): Promise<void> {
  const { topic, queueId } = queue
  const fields = { consumerGroup: group, topic, queueId, commitOffset: offset }
  const asked = `committing for group '${group}' in '${topic}'`
  await call(connection, REQUEST.updateConsumerOffset, UPDATE_OFFSET, fields, asked, options)
}

/** Next offset to be written ('max'), or first one retained ('min'). */
export async function endOffset(
  connection: RemotingConnection,
  which: 'min' | 'max',
  { topic, queueId }: QueueRef,
  options: CallOptions,
): Promise<number> {
  const code = which === 'max' ? REQUEST.getMaxOffset : REQUEST.getMinOffset
  const asked = `the ${which} offset of '${topic}'`
  const response = await call(connection, code, QUEUE, { topic, queueId }, asked, options)
  return readFields(OFFSET, response.fields).offset
}

/** First offset stored at or after the time. */
export async function offsetByTime(
  connection: RemotingConnection,
  { topic, queueId }: QueueRef,
  timestamp: number,
  options: CallOptions,
): Promise<number> {
  const code = REQUEST.searchOffsetByTimestamp
  const fields = { topic, queueId, timestamp }
  const asked = `the offset by time in '${topic}'`
  const response = await call(connection, code, SEARCH_OFFSET, fields, asked, options)
  return readFields(OFFSET, response.fields).offset
}

export async function heartbeat(
  connection: RemotingConnection,
  beat: Heartbeat,
  options: CallOptions,
): Promise<void> {
  const body = encodeHeartbeat(beat)
  const response = await connection.request(REQUEST.heartbeat, { ...options, body })
  accepted(response, `registering at ${connection.address}`)
}

export async function unregister(
  connection: RemotingConnection,
  clientID: string,
  role: { consumerGroup: string } | { producerGroup: string },
  options: CallOptions,
): Promise<void> {
  const code = REQUEST.unregisterClient
  await call(connection, code, UNREGISTER_CLIENT, { clientID, ...role }, 'signing off', options)
}

/** Empty when the broker knows no member of the group. */
export async function consumerIds(
  connection: RemotingConnection,
  consumerGroup: string,
  options: CallOptions,
): Promise<readonly string[]> {
  const fields = writeFields(CONSUMER_GROUP, { consumerGroup })
  const response = await connection.request(REQUEST.getConsumerList, { ...options, fields })
  if (response.code === RESPONSE.systemError) return []
  const asked = `the members of group '${consumerGroup}'`
  return decodeConsumerIds(accepted(response, asked).body)
}

export interface QueueHolder {
  readonly clientId: string
  readonly consumerGroup: string
}

/** Those of the queues that are this client's now. */
export async function lockQueues(
  connection: RemotingConnection,
  holder: QueueHolder,
  queues: readonly QueueRef[],
  options: CallOptions,
): Promise<readonly QueueRef[]> {
  const body = encodeLockRequest({ ...holder, queues })
  const response = await connection.request(REQUEST.lockQueues, { ...options, body })
  return decodeLockedQueues(accepted(response, `locking queues at ${connection.address}`).body)
}

export async function unlockQueues(
  connection: RemotingConnection,
  holder: QueueHolder,
  queues: readonly QueueRef[],
  options: CallOptions,
): Promise<void> {
  const body = encodeLockRequest({ ...holder, queues })
  const response = await connection.request(REQUEST.unlockQueues, { ...options, body })
  accepted(response, `unlocking queues at ${connection.address}`)
}

/** Hands a message back: the broker delivers it again later, or dead-letters it. */
export async function sendBack(
  connection: RemotingConnection,
  fields: Values<typeof SEND_BACK>,
  options: CallOptions,
): Promise<void> {
  const asked = `handing a message of '${fields.originTopic}' back for group '${fields.group}'`
  await call(connection, REQUEST.sendMessageBack, SEND_BACK, fields, asked, options)
}

/** One request with a layout for its fields, refused unless the answer is success. */
export async function call<L extends Layout>(
  connection: RemotingConnection,
  code: number,
  shape: L,
  values: Values<L>,
  asked: string,
  options: CallOptions,
): Promise<Command> {
  const fields = writeFields(shape, values)
  return accepted(
    await connection.request(code, { ...options, fields }),
    `${asked} at ${connection.address}`,
  )
}

/** @throws BrokerError for any response but success */
export function accepted(response: Command, asked: string): Command {
  if (response.code !== RESPONSE.success) throw responseError(response, asked)
  return response
}
