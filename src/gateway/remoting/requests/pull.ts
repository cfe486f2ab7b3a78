// PULL_MESSAGE and LITE_PULL_MESSAGE: reading a queue by offset, held until something comes when
// the client asks for that.
import { BrokerError } from '../../../errors.ts'
import { getI32, putU64 } from '../../../model/bytes.ts'
import type { GroupDefinition } from '../../../model/group.ts'
import type { PullRequest, PullResult } from '../../../model/message.ts'
import { type MessageFilter, parseMessageFilter } from '../../../model/message-filter.ts'
import { isLightQueue, TOOLS_GROUP, topicOfWire } from '../../../model/names.ts'
import { type QueueOffset, queueOffset } from '../../../model/positions.ts'
import { QUEUE_OFFSET_AT, storeTimestampOf } from '../../../model/record.ts'
import { EVERY_TAG } from '../../../model/tag-filter.ts'
import { REQUEST, RESPONSE } from '../../../remoting/codes.ts'
import { NO_BODY } from '../../../remoting/command.ts'
import { pullResponseHead } from '../../../remoting/fast/pull-response.ts'
import { readFields } from '../../../remoting/layout.ts'
import { PULL, PULL_FLAG, type PullFields } from '../../../remoting/requests/pull.ts'
import {
  type Answer,
  authorizeConsuming,
  type Call,
  type HeldCall,
  heldCall,
  isThereOrMayCreate,
  ownQueue,
  type RequestTable,
} from '../call.ts'

/** As Apache's limit for one answer from memory. */
const PULL_BYTES_DEFAULT = 256 * 1024
const PULL_BYTES_MAX = 4 * 1024 * 1024
/** As Apache's limit for one answer from memory (maxTransferCountOnMessageInMemory). */
const PULL_MESSAGES_MAX = 32
/** Of a client that says it takes more (PULL_FLAG.many). */
const PULL_MESSAGES_MAX_MANY = 1024
/** Clients wait 30 s at most for an answer that may be held; a held answer must come before. */
const SUSPEND_MS_MAX = 30_000

const serveAnyPull = (call: Call): Promise<Answer> =>
  servePull(heldCall(call), readFields(PULL, call.fields))

export const pullRequests: RequestTable = new Map([
  [REQUEST.pullMessage, serveAnyPull],
  [REQUEST.litePullMessage, serveAnyPull],
])

export async function servePull(call: HeldCall, pull: PullFields): Promise<Answer> {
  checkPull(call, pull)
  // Before anything is waited for, or a commit that was sent behind it would be undone by it.
  const committing = commitRiding(call, pull)
  if (!(await isThereOrMayCome(call, pull))) {
    throw new BrokerError('TOPIC_NOT_FOUND', `topic '${pull.topic}' does not exist`)
  }
  const group = await groupOf(call, pull.consumerGroup)
  const filter = chooseFilter(call, pull, group)
  if ('remark' in filter) return filter
  // The group may have been made since.
  if (committing !== undefined && !(await committing)) await commitRiding(call, pull)
  return answerOf(call, pull, await read(call, pull, filter))
}

/**
 * Tools read what is there, and gateways read by their group: a topic that an operator deletes
 * under its readers does not come back by their next pull.
 */
async function isThereOrMayCome(call: HeldCall, pull: PullFields): Promise<boolean> {
  const { topic, consumerGroup } = pull
  if (consumerGroup !== TOOLS_GROUP || isLightQueue(topic)) return isThereOrMayCreate(call, topic)
  return (await call.context.broker.topics.get(topic)) !== undefined
}

/**
 * A commit that rides along is a hint; the pull itself reports an error of the queue.
 * @returns whether it holds
 */
function commitRiding(call: HeldCall, pull: PullFields): Promise<boolean> | undefined {
  if ((pull.sysFlag & PULL_FLAG.commitOffset) === 0 || pull.commitOffset < 0) return undefined
  const { cursors } = call.context.broker
  const queue = ownQueue(call, pull.topic, pull.queueId)
  const offset = queueOffset(pull.commitOffset)
  return cursors.commit(pull.consumerGroup, queue, offset, call.client.clientId).then(
    () => true,
    () => false,
  )
}

/** A read within the peer's budget; a pull that has to wait for messages holds none of it. */
async function read(call: HeldCall, pull: PullFields, filter: MessageFilter): Promise<PullResult> {
  const { broker } = call.context
  if (pull.queueOffset < 0) return beforeTheQueue(call, pull)
  const request = requestOf(call, pull, filter)
  const waiting = call.reads.take(request.maxBytes)
  if (waiting !== undefined) await waiting
  let result: PullResult
  try {
    result = await broker.pull(request)
  } finally {
    call.reads.give(request.maxBytes)
  }
  const isHeld = (pull.sysFlag & PULL_FLAG.suspend) !== 0
  const waitMs = Math.min(pull.suspendTimeoutMillis, SUSPEND_MS_MAX)
  if (result.status !== 'at-end' || !isHeld || waitMs <= 0) return result
  return broker.pull({ ...request, waitMs })
}

/** An offset below 0 is below the queue's first, as every other that retention took. */
async function beforeTheQueue(call: HeldCall, pull: PullFields): Promise<PullResult> {
  const queue = ownQueue(call, pull.topic, pull.queueId)
  const range = await call.context.broker.cursors.range(queue)
  return {
    ...{ status: 'moved', records: NO_BODY, count: 0, offsets: [], nextOffset: range.minOffset },
    ...range,
  }
}

function checkPull(call: HeldCall, pull: PullFields): void {
  if (pull.queueId < 0) {
    throw new BrokerError(
      'ARGUMENT_INVALID',
      `a pull from queue ${pull.queueId} of '${pull.topic}'; 0 is the first`,
    )
  }
  authorizeConsuming(call, pull.consumerGroup, pull.topic)
}

async function groupOf(call: HeldCall, name: string): Promise<GroupDefinition> {
  const { groups } = call.context.broker
  const group = (await groups.get(name)) ?? (await groups.ensure(name))
  if (!group.consumeEnabled) {
    throw new BrokerError(
      'PERMISSION_DENIED',
      `the consumer group '${name}' may not consume; enable it with updateSubGroup -s true`,
    )
  }
  return group
}

type Refusal = Answer & { readonly remark: string }

/** From the request, or from the client's heartbeat; an answer when that has none. */
function chooseFilter(
  call: HeldCall,
  pull: PullFields,
  group: GroupDefinition,
): MessageFilter | Refusal {
  if ((pull.sysFlag & PULL_FLAG.subscription) !== 0) {
    return parseMessageFilter(pull.subscription, pull.expressionType)
  }
  const consumer = call.client.consumer(group.name)
  const subscription = call.client.subscription(group.name, pull.topic)
  if (subscription === undefined) {
    return {
      code: RESPONSE.subscriptionNotExist,
      remark: `the consumer's group info not exist: '${group.name}' has no subscription of '${pull.topic}' on this connection`,
    }
  }
  if (consumer?.model === 'broadcasting' && !group.broadcastEnabled) {
    throw new BrokerError('PERMISSION_DENIED', `the group '${group.name}' may not broadcast`)
  }
  // A client with a newer version will tell of it by a heartbeat, up to 30 s from now: Java counts
  // the version up whenever its queues change, and leaves the heartbeat out while another one is
  // under way. Until then it gets every message. Clients sort out tags themselves, because Apache's
  // broker only compares their hashes.
  const { filter } = subscription
  if (subscription.version >= (pull.subVersion ?? 0)) return filter
  if (filter.kind === 'tags') return EVERY_TAG
  return {
    code: RESPONSE.filterDataNotLatest,
    remark: `the consumer's consumer filter data not latest: '${group.name}' has told of a newer subscription of '${pull.topic}'`,
  }
}

function requestOf(call: HeldCall, pull: PullFields, filter: MessageFilter): PullRequest {
  const takesMany = (pull.sysFlag & PULL_FLAG.many) !== 0
  const most = takesMany ? PULL_MESSAGES_MAX_MANY : PULL_MESSAGES_MAX
  return {
    topic: topicOfWire(pull.topic),
    brokerName: call.context.broker.identity.brokerName,
    queueId: pull.queueId,
    offset: queueOffset(pull.queueOffset),
    // Apache's broker gives one message to a client that asks for none, as Go's PullConsumer does
    // by default.
    maxMessages: Math.max(1, Math.min(pull.maxMsgNums, most)),
    maxBytes: bytesWanted(pull.maxMsgBytes),
    filter,
    waitMs: 0,
    signal: call.signal,
    // Members that broadcast keep places of their own, which no reset of the group moves.
    group: isBroadcasting(call, pull) ? undefined : pull.consumerGroup,
    reader: call.client,
    member: call.client.clientId,
  }
}

const isBroadcasting = (call: HeldCall, { consumerGroup }: PullFields): boolean =>
  call.client.consumer(consumerGroup)?.model === 'broadcasting'

const bytesWanted = (asked: number | undefined): number =>
  asked === undefined || asked <= 0 ? PULL_BYTES_DEFAULT : Math.min(asked, PULL_BYTES_MAX)

/**
 * A consumer orders what it has of a queue by the offsets in the records, and commits by them: in a
 * light queue those are its own.
 */
function putOffsets(records: Buffer, offsets: readonly QueueOffset[]): void {
  let at = 0
  for (const offset of offsets) {
    putU64(records, at + QUEUE_OFFSET_AT, offset)
    at += getI32(records, at)
  }
}

function answerOf(call: HeldCall, { topic }: PullFields, result: PullResult): Answer {
  const { codec, opaque } = call
  const { status, records } = result
  const isFound = status === 'found'
  if (isFound && isLightQueue(topic)) putOffsets(records, result.offsets)
  const body = isFound ? call.context.ownProperties.shown(records) : undefined
  if (body !== undefined) {
    const { traffic, clock } = call.context
    traffic.delivered(result.count, body.length, clock.now() - storeTimestampOf(body, 0))
  }
  const head = pullResponseHead(status, codec, opaque, result, body?.length ?? 0)
  return { frames: body === undefined ? [head] : [head, body] }
}
