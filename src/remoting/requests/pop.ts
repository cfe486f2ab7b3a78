// Receiving per message: POP (200050), ACK (200051), BATCH_ACK (200151), CHANGE_INVISIBLE_TIME
// (200053), NOTIFICATION (200054) and POLLING_INFO (200055).
import type { JsonMap } from '../json/json.ts'
import { jsonBody } from '../json/json-emitter.ts'
import { numberAt, objectsAt, parseObject, textAt } from '../json/json-members.ts'
import { bool, int, layout, long, optional, text, type Values } from '../layout.ts'
import { invalidRequest } from '../protocol-error.ts'

/** Messages of one POP; Apache's broker refuses more. */
export const POP_MESSAGES_MAX = 32
/** `reviveQid` of what was popped in order. */
export const ORDERED_REVIVE_QUEUE = 999

export const POP = layout({
  consumerGroup: text,
  topic: text,
  /** Below 0: every queue of the broker. */
  queueId: int,
  maxMsgNums: int,
  invisibleTime: long,
  pollTime: long,
  /** The client's clock; 0: the broker's. */
  bornTime: long,
  /** Where a group that is new starts: 0 at the first message, 1 at the next one. */
  initMode: int,
  expType: optional(text),
  exp: optional(text),
  order: optional(bool),
  attemptId: optional(text),
})

export type PopFields = Values<typeof POP>

export const INIT_AT_END = 1

export const POP_RESPONSE = layout({
  popTime: long,
  invisibleTime: long,
  reviveQid: int,
  restNum: long,
  startOffsetInfo: optional(text),
  msgOffsetInfo: optional(text),
  orderCountInfo: optional(text),
})

export const ACK = layout({
  consumerGroup: text,
  topic: text,
  queueId: int,
  extraInfo: text,
  offset: long,
})

export const CHANGE_INVISIBLE_TIME = layout({
  ...ACK,
  invisibleTime: long,
  suspend: optional(bool),
})

export const CHANGE_RESPONSE = layout({ popTime: long, invisibleTime: long, reviveQid: int })

export const NOTIFICATION = layout({
  consumerGroup: text,
  topic: text,
  queueId: int,
  pollTime: long,
  bornTime: long,
  order: optional(bool),
  attemptId: optional(text),
  expType: optional(text),
  exp: optional(text),
})

export const NOTIFICATION_RESPONSE = layout({ hasMsg: bool, pollingFull: bool })

export const POLLING_INFO = layout({ consumerGroup: text, topic: text, queueId: int })

export const POLLING_INFO_RESPONSE = layout({ pollingNum: int })

/** Where a message stands that was popped: in the topic, or in the group's retry topic for it. */
export type RetryKind = '0' | '1' | '2'

/**
 * RocketMQ's receipt handle, eight words: `startOffset popTime invisibleTime reviveQid retryKind
 * brokerName queueId offset`. Clients make it themselves, out of a POP's answer.
 */
export interface PopHandle {
  readonly startOffset: number
  readonly popTime: number
  readonly invisibleTime: number
  readonly reviveQid: number
  readonly retryKind: RetryKind
  readonly brokerName: string
  readonly queueId: number
  readonly offset: number
}

export const printHandle = (handle: PopHandle): string =>
  `${handle.startOffset} ${handle.popTime} ${handle.invisibleTime} ${handle.reviveQid} ` +
  `${handle.retryKind} ${handle.brokerName} ${handle.queueId} ${handle.offset}`

const WHOLE = /^\d{1,16}$/
const RETRY_KIND = /^[012]$/

/** undefined: it is none. */
export function parseHandle(handle: string): PopHandle | undefined {
  const words = handle.split(' ')
  const [startOffset, popTime, invisibleTime, reviveQid, retryKind, brokerName, queueId] = words
  const offset = words[7] ?? startOffset
  if (words.length < 7 || words.length > 8 || !RETRY_KIND.test(retryKind!)) return undefined
  const numbers = [startOffset!, popTime!, invisibleTime!, reviveQid!, queueId!, offset!]
  if (!numbers.every((word) => WHOLE.test(word))) return undefined
  return {
    startOffset: Number(startOffset),
    popTime: Number(popTime),
    invisibleTime: Number(invisibleTime),
    reviveQid: Number(reviveQid),
    retryKind: retryKind as RetryKind,
    brokerName: brokerName!,
    queueId: Number(queueId),
    offset: Number(offset),
  }
}

/** `%RETRY%<group>_<topic>`: the topic of an ACK or CHANGE of what came from there. */
export const popRetryTopic = (group: string, topic: string): string => `%RETRY%${group}_${topic}`

/** The topic behind the name of a retry topic of either kind; undefined: it is not the group's. */
export function topicOfPopRetry(group: string, retryTopic: string): string | undefined {
  const prefix = `%RETRY%${group}`
  const isRetry = retryTopic.startsWith(`${prefix}_`) || retryTopic.startsWith(`${prefix}+`)
  return isRetry ? retryTopic.slice(prefix.length + 1) : undefined
}

/** The offsets that one POP handed out of one queue, ascending. */
export interface PoppedQueue {
  readonly retryKind: RetryKind
  readonly queueId: number
  readonly offsets: readonly number[]
}

/** `0 3 17;1 0 2`: the first offset of each queue. */
export const printStartOffsets = (queues: readonly PoppedQueue[]): string =>
  queues.map(({ retryKind, queueId, offsets }) => `${retryKind} ${queueId} ${offsets[0]}`).join(';')

/** `0 3 17,18;1 0 2`. */
export const printOffsets = (queues: readonly PoppedQueue[]): string =>
  queues.map(({ retryKind, queueId, offsets }) => `${retryKind} ${queueId} ${offsets}`).join(';')

export function parseOffsets(info: string): PoppedQueue[] {
  return info
    .split(';')
    .filter((queue) => queue !== '')
    .map((queue) => {
      const [retryKind = '', queueId = '', offsets = ''] = queue.split(' ')
      const all = offsets.split(',')
      if (!RETRY_KIND.test(retryKind) || ![queueId, ...all].every((word) => WHOLE.test(word))) {
        throw invalidRequest(`'${info.slice(0, 80)}' names no offsets`)
      }
      return {
        retryKind: retryKind as RetryKind,
        queueId: Number(queueId),
        offsets: all.map(Number),
      }
    })
}

/** What was popped of one queue at one time, as a batch of acknowledgements names it. */
export interface BatchAck {
  readonly group: string
  readonly topic: string
  readonly retryKind: RetryKind
  readonly startOffset: number
  readonly queueId: number
  readonly reviveQid: number
  readonly popTime: number
  readonly invisibleTime: number
  readonly offsets: readonly number[]
}

/** Acknowledgements of one request: so many bits are looked up in one turn of the event loop. */
const BATCH_ACKS_MAX = 16_384
/** Queues and times that they are of: each is an object of its own, if it has bits or not. */
const BATCH_ENTRIES_MAX = 4096

/** @throws BrokerError ARGUMENT_INVALID */
export function decodeBatchAck(body: Buffer): BatchAck[] {
  let count = 0
  return acksOf(body).map((ack) => {
    const startOffset = numberAt(ack, 'so')
    const offsets = offsetsOf(Buffer.from(textAt(ack, 'b'), 'base64'), startOffset)
    count += offsets.length
    if (count > BATCH_ACKS_MAX) {
      throw invalidRequest(`more than ${BATCH_ACKS_MAX} acknowledgements in one request`)
    }
    const retryKind = textAt(ack, 'r')
    return {
      group: textAt(ack, 'c'),
      topic: textAt(ack, 't'),
      retryKind: RETRY_KIND.test(retryKind) ? (retryKind as RetryKind) : '0',
      startOffset,
      queueId: numberAt(ack, 'q'),
      reviveQid: numberAt(ack, 'rq'),
      popTime: numberAt(ack, 'pt'),
      invisibleTime: numberAt(ack, 'it'),
      offsets,
    }
  })
}

/** Standard JSON by the engine's parser; what it does not take is read as loosely as Java does. */
function acksOf(body: Buffer): readonly JsonMap[] {
  let parsed: unknown
  try {
    parsed = JSON.parse(body.toString('utf8'))
  } catch {
    return objectsAt(parseObject(body), 'acks')
  }
  const acks = (parsed as { acks?: unknown } | null)?.acks
  const objects = Array.isArray(acks) ? acks : []
  if (objects.length > BATCH_ENTRIES_MAX) {
    throw invalidRequest(`more than ${BATCH_ENTRIES_MAX} deliveries in one request`)
  }
  return objects.map((ack: object | null) => new Map(Object.entries(ack ?? {})) as JsonMap)
}

export const encodeBatchAck = (brokerName: string, acks: readonly BatchAck[]): Buffer =>
  jsonBody({
    acks: acks.map((ack) => ({
      b: bitsOf(ack).toString('base64'),
      c: ack.group,
      it: ack.invisibleTime,
      pt: ack.popTime,
      q: ack.queueId,
      r: ack.retryKind,
      rq: ack.reviveQid,
      so: ack.startOffset,
      t: ack.topic,
    })),
    brokerName,
  })

/** A Java BitSet, least significant bit first: bit n stands for `startOffset` + n. */
function offsetsOf(bits: Buffer, startOffset: number): number[] {
  const offsets: number[] = []
  for (let at = 0; at < bits.length && offsets.length <= BATCH_ACKS_MAX; at++) {
    for (let byte = bits[at]!, bit = 0; byte !== 0; byte >>= 1, bit++) {
      if ((byte & 1) === 1) offsets.push(startOffset + at * 8 + bit)
    }
  }
  return offsets
}

function bitsOf({ startOffset, offsets }: BatchAck): Buffer {
  const last = Math.max(...offsets, startOffset)
  const bits = Buffer.alloc(((last - startOffset) >> 3) + 1)
  for (const offset of offsets)
    bits[(offset - startOffset) >> 3]! |= 1 << ((offset - startOffset) & 7)
  return bits
}
