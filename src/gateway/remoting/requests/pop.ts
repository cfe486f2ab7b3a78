// POP_MESSAGE: messages one by one, whichever queue they stand in, held until there are some when
// the client asks for that.
import { BrokerError } from '../../../errors.ts'
import { ANY_QUEUE, type Popped, type PopRequest } from '../../../model/message.ts'
import { type MessageFilter, parseMessageFilter } from '../../../model/message-filter.ts'
import { storeTimestampOf } from '../../../model/record.ts'
import { EVERY_TAG } from '../../../model/tag-filter.ts'
import { PERM_READ } from '../../../model/topic.ts'
import { REQUEST, RESPONSE } from '../../../remoting/codes.ts'
import { encodeCommandHead, responseHeader } from '../../../remoting/command.ts'
import { readFields, writeFields } from '../../../remoting/layout.ts'
import {
  INIT_AT_END,
  ORDERED_REVIVE_QUEUE,
  POP,
  POP_MESSAGES_MAX,
  POP_RESPONSE,
  type PopFields,
} from '../../../remoting/requests/pop.ts'
import {
  type Answer,
  authorizeConsuming,
  type Call,
  type HeldCall,
  heldCall,
  type RequestTable,
} from '../call.ts'
import { poppedAnswer } from '../popped.ts'

/** As Apache's limit for one answer from memory. */
const POP_BYTES_MAX = 256 * 1024
/** An answer that is held comes this long before the client stops to wait for it. */
const EARLIER_MS = 50
/** A request whose time was over this long ago has been given up. */
const LATE_MS = 500
/** A connection that sends nothing for so long is closed. */
const POLL_MS_MAX = 120_000

const serveAnyPop = (call: Call): Promise<Answer> =>
  servePop(heldCall(call), readFields(POP, call.fields))

export const popRequests: RequestTable = new Map([[REQUEST.popMessage, serveAnyPop]])

export async function servePop(call: HeldCall, pop: PopFields): Promise<Answer> {
  authorizeConsuming(call, pop.consumerGroup, pop.topic)
  const waitMs = waitOf(call, pop)
  if (waitMs === undefined) return nothing(pop, 'pop message is timeout too much')
  if (pop.maxMsgNums > POP_MESSAGES_MAX) {
    throw new BrokerError(
      'ARGUMENT_INVALID',
      `the broker[${brokerName(call)}] pop message's num is greater than ${POP_MESSAGES_MAX}`,
    )
  }
  await checkReadable(call, pop)
  if (pop.maxMsgNums < 1 || pop.invisibleTime < 1) return nothing(pop, NOTHING)
  const request = requestOf(call, pop)
  const found = await readNow(call, request)
  if (found.messages.length > 0) return answerOf(call, pop, found)
  if (waitMs <= 0) return nothing(pop, NOTHING)
  const held = await call.context.heldPops.within(pop, () =>
    call.context.broker.pops.pop({ ...request, waitMs }),
  )
  if (held === undefined) return { ...nothing(pop, NOTHING), code: RESPONSE.pollingFull }
  return held.messages.length > 0 ? answerOf(call, pop, held) : nothing(pop, NOTHING)
}

const NOTHING = 'NO_MESSAGE_IN_QUEUE'

const brokerName = ({ context }: HeldCall): string => context.broker.identity.brokerName

/**
 * How long the client still waits, by its own clock; undefined when it has given up. A clock that
 * is ahead makes it no longer than it asked for.
 */
export function waitOf(
  { context }: Pick<Call, 'context'>,
  { bornTime, pollTime }: { readonly bornTime: number; readonly pollTime: number },
): number | undefined {
  const now = context.clock.now()
  const waitMs = (bornTime <= 0 ? now : bornTime) + pollTime - now
  if (waitMs < -LATE_MS) return undefined
  return Math.min(waitMs, pollTime, POLL_MS_MAX) - EARLIER_MS
}

/** @throws BrokerError TOPIC_NOT_FOUND, PERMISSION_DENIED, ARGUMENT_INVALID */
export async function checkReadable(
  { context }: Pick<Call, 'context'>,
  { topic, queueId, consumerGroup }: Pick<PopFields, 'topic' | 'queueId' | 'consumerGroup'>,
): Promise<void> {
  const { topics, groups } = context.broker
  const definition = await topics.get(topic)
  if (definition === undefined) {
    throw new BrokerError('TOPIC_NOT_FOUND', `topic[${topic}] not exist, apply first please!`)
  }
  if ((definition.perm & PERM_READ) === 0) {
    throw new BrokerError('PERMISSION_DENIED', `the topic[${topic}] peeking message is forbidden`)
  }
  if (queueId >= definition.readQueues) {
    throw new BrokerError(
      'ARGUMENT_INVALID',
      `queueId[${queueId}] is illegal, topic:[${topic}] ` +
        `topicConfig.readQueueNums:[${definition.readQueues}]`,
    )
  }
  const group = (await groups.get(consumerGroup)) ?? (await groups.ensure(consumerGroup))
  if (group.consumeEnabled) return
  throw new BrokerError('PERMISSION_DENIED', `subscription group no permission, ${consumerGroup}`)
}

export const filterOf = ({
  exp,
  expType,
}: {
  readonly exp?: string | undefined
  readonly expType?: string | undefined
}): MessageFilter =>
  exp === undefined || exp === '' ? EVERY_TAG : parseMessageFilter(exp, expType)

function requestOf(call: HeldCall, pop: PopFields): PopRequest {
  const ordered = pop.order === true
  const attempt = ordered && pop.attemptId !== '' ? pop.attemptId : undefined
  return {
    topic: pop.topic,
    queueId: Math.max(ANY_QUEUE, pop.queueId),
    brokerName: brokerName(call),
    group: pop.consumerGroup,
    filter: filterOf(pop),
    maxMessages: pop.maxMsgNums,
    maxBytes: POP_BYTES_MAX,
    invisibleMs: pop.invisibleTime,
    ordered,
    mayRepeat: attempt !== undefined,
    startAt: pop.initMode === INIT_AT_END ? 'last' : 'first',
    waitMs: 0,
    memberId: attempt ?? call.client.connectionId,
    signal: call.signal,
  }
}

/** Within the peer's budget; one that has to wait for messages holds none of it. */
async function readNow(call: HeldCall, request: PopRequest): Promise<Popped> {
  const waiting = call.reads.take(request.maxBytes)
  if (waiting !== undefined) await waiting
  try {
    return await call.context.broker.pops.pop(request)
  } finally {
    call.reads.give(request.maxBytes)
  }
}

const reviveQueue = (pop: PopFields): number => (pop.order === true ? ORDERED_REVIVE_QUEUE : 0)

function nothing(pop: PopFields, remark: string): Answer {
  const fields = writeFields(POP_RESPONSE, {
    popTime: 0,
    invisibleTime: pop.invisibleTime,
    reviveQid: reviveQueue(pop),
    restNum: 0,
  })
  return { code: RESPONSE.pollingTimeout, fields, remark }
}

function answerOf(call: HeldCall, pop: PopFields, popped: Popped): Answer {
  const { traffic, clock, ownProperties } = call.context
  const answer = poppedAnswer(popped, {
    topic: pop.topic,
    group: pop.consumerGroup,
    brokerName: brokerName(call),
    invisibleTime: pop.invisibleTime,
    reviveQid: reviveQueue(pop),
    ordered: pop.order === true,
    ownProperties,
  })
  const age = clock.now() - storeTimestampOf(popped.messages[0]!.record, 0)
  const bytes = answer.records.reduce((sum, { length }) => sum + length, 0)
  traffic.delivered(popped.messages.length, bytes, age)
  const fields = writeFields(POP_RESPONSE, {
    popTime: popped.poppedAt,
    invisibleTime: pop.invisibleTime,
    reviveQid: reviveQueue(pop),
    restNum: 0,
    ...answer.fields,
  })
  const header = responseHeader(call.opaque, RESPONSE.success, fields, 'FOUND')
  return { frames: [encodeCommandHead(header, bytes, call.codec), ...answer.records] }
}
