// NOTIFICATION: is there something to pop? And POLLING_INFO: how many wait for that.
import { ANY_QUEUE, type ReceiveRequest } from '../../../model/message.ts'
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

/**
 * Found by receiving one message as a POP with this filter would, and releasing it: that another
 * consumer may have is never told of.
 */
async function notification(call: Call): Promise<Answer> {
  const asked = readFields(NOTIFICATION, call.fields)
  authorizeConsuming(call, asked.consumerGroup, asked.topic)
  await checkReadable(call, asked)
  const { broker } = call.context
  const request: ReceiveRequest = {
    topic: asked.topic,
    queueId: Math.max(ANY_QUEUE, asked.queueId),
    brokerName: broker.identity.brokerName,
    group: asked.consumerGroup,
    filter: filterOf(asked),
    maxMessages: 1,
    maxBytes: 1,
    invisibleMs: LOOK_MS,
    ordered: asked.order === true,
    startAt: 'first',
    waitMs: 0,
    memberId: `${call.session.connectionId}/notification`,
    signal: call.signal,
  }
  const isThere = async (waitMs: number): Promise<boolean> => {
    const found = await broker.receive({ ...request, waitMs })
    await broker.release(found.map(({ receipt }) => receipt))
    return found.length > 0
  }
  const waitMs = waitOf(call, asked) ?? 0
  if (await isThere(0)) return noticeOf(true, false)
  if (waitMs <= 0) return noticeOf(false, false)
  const hasMsg = await call.context.heldPops.within(asked, () => isThere(waitMs))
  return noticeOf(hasMsg === true, hasMsg === undefined)
}

const noticeOf = (hasMsg: boolean, pollingFull: boolean): Answer =>
  answerFields(writeFields(NOTIFICATION_RESPONSE, { hasMsg, pollingFull }))

function pollingInfo(call: Call): Answer {
  const { topic, consumerGroup, queueId } = readFields(POLLING_INFO, call.fields)
  authorizeConsuming(call, consumerGroup, topic)
  const pollingNum = call.context.heldPops.count(topic, consumerGroup, queueId)
  return answerFields(writeFields(POLLING_INFO_RESPONSE, { pollingNum }))
}
