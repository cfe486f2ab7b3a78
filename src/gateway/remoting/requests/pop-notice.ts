// NOTIFICATION: is there something to pop? And POLLING_INFO: how many wait for that.
import { onAbort } from '../../../abort.ts'
import { ANY_QUEUE, type QueueRange, type ReceiveRequest } from '../../../model/message.ts'
import { REQUEST } from '../../../remoting/codes.ts'
import { readFields, writeFields } from '../../../remoting/layout.ts'
import {
  NOTIFICATION,
  NOTIFICATION_RESPONSE,
  POLLING_INFO,
  POLLING_INFO_RESPONSE,
} from '../../../remoting/requests/pop.ts'
import {
  type Answer,
  answerFields,
  authorizeConsuming,
  type Call,
  type RequestTable,
  type Serve,
} from '../call.ts'
import { checkReadable, filterOf, waitOf } from './pop.ts'

export const popNoticeRequests: RequestTable = new Map<number, Serve>([
  [REQUEST.notification, notification],
  [REQUEST.pollingInfo, pollingInfo],
])

/** A message that was found is handed back at once; this is for a broker that cannot be told so. */
const LOOK_MS = 1000

async function notification(call: Call): Promise<Answer> {
  const asked = readFields(NOTIFICATION, call.fields)
  authorizeConsuming(call, asked.consumerGroup, asked.topic)
  await checkReadable(call, asked)
  const request: ReceiveRequest = {
    topic: asked.topic,
    queueId: Math.max(ANY_QUEUE, asked.queueId),
    brokerName: call.context.broker.identity.brokerName,
    group: asked.consumerGroup,
    filter: filterOf(asked),
    maxMessages: 1,
    maxBytes: 1,
    invisibleMs: LOOK_MS,
    ordered: asked.order === true,
    startAt: 'first',
    waitMs: 0,
    memberId: `${call.client.connectionId}/notification`,
    signal: call.signal,
  }
  const queues = await queuesWithoutPlace(call, request)
  if (await (queues === undefined ? isReceived(call, request) : isStored(call, request, queues))) {
    return noticeOf(true, false)
  }
  const waitMs = waitOf(call, asked) ?? 0
  if (waitMs <= 0) return noticeOf(false, false)
  const hasMsg = await call.context.heldPops.within(asked, () => comes(call, request, waitMs))
  return noticeOf(hasMsg === true, hasMsg === undefined)
}

/** Is there one within the time? */
async function comes(call: Call, request: ReceiveRequest, waitMs: number): Promise<boolean> {
  const { context, signal } = call
  const { broker, clock } = context
  const endMs = clock.monotonic() + waitMs
  let hasNews = false
  let wake = (): void => {}
  const look = (): void => {
    hasNews = true
    wake()
  }
  const watch = broker.watch(request.topic, look)
  const timer = clock.after(waitMs, look)
  const unheard = onAbort(signal, look)
  try {
    for (let leftMs = waitMs; leftMs > 0; leftMs = endMs - clock.monotonic()) {
      signal.throwIfAborted()
      hasNews = false
      const queues = await queuesWithoutPlace(call, request)
      if (queues === undefined) return await isReceived(call, { ...request, waitMs: leftMs })
      if (await isStored(call, request, queues)) return true
      await new Promise<void>((resolve) => {
        wake = resolve
        if (hasNews) resolve()
      })
    }
    return false
  } finally {
    watch[Symbol.dispose]()
    timer.cancel()
    unheard()
  }
}

/**
 * The queues asked about, of a group that was never on the topic: its first POP says where it
 * starts, and asking gives it no place. undefined: it has one.
 */
async function queuesWithoutPlace(
  { context: { broker } }: Call,
  { topic, group, queueId }: ReceiveRequest,
): Promise<readonly QueueRange[] | undefined> {
  const ranges = await broker.topics.ranges(topic)
  for (const range of ranges) {
    if ((await broker.cursors.committed(group, range)) !== undefined) return undefined
  }
  return queueId === ANY_QUEUE ? ranges : ranges.filter((range) => range.queueId === queueId)
}

/**
 * Receives one message as a POP with this filter would, and releases it: that another consumer may
 * have is never told of.
 */
async function isReceived({ context }: Call, request: ReceiveRequest): Promise<boolean> {
  const found = await context.broker.receive(request)
  await context.broker.release(found.map(({ receipt }) => receipt))
  return found.length > 0
}

async function isStored(
  { context }: Call,
  { topic, filter }: ReceiveRequest,
  queues: readonly QueueRange[],
): Promise<boolean> {
  for (const { brokerName, queueId, minOffset, maxOffset } of queues) {
    if (minOffset >= maxOffset) continue
    const { count, nextOffset } = await context.broker.pull({
      ...{ topic, brokerName, queueId, offset: minOffset, filter },
      ...{ maxMessages: 1, maxBytes: 1, waitMs: 0 },
    })
    // Where the search ended early, what is selected may come.
    if (count > 0 || nextOffset < maxOffset) return true
  }
  return false
}

const noticeOf = (hasMsg: boolean, pollingFull: boolean): Answer =>
  answerFields(writeFields(NOTIFICATION_RESPONSE, { hasMsg, pollingFull }))

function pollingInfo(call: Call): Answer {
  const { topic, consumerGroup, queueId } = readFields(POLLING_INFO, call.fields)
  authorizeConsuming(call, consumerGroup, topic)
  const pollingNum = call.context.heldPops.count(topic, consumerGroup, queueId)
  return answerFields(writeFields(POLLING_INFO_RESPONSE, { pollingNum }))
}
