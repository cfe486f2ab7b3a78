// Questions of mqadmin and the dashboard that a member of a group answers itself: they are passed
// on to its connection, and the member's answer back.
import { BrokerError } from '../../../errors.ts'
import { parseOffsetMessageId } from '../../../model/message-id.ts'
import { RecordView } from '../../../model/record.ts'
import { tooLongForAnswer } from '../../../remoting/answer-bytes.ts'
import { REQUEST, RESPONSE } from '../../../remoting/codes.ts'
import { type Layout, readFields, type Values, writeFields } from '../../../remoting/layout.ts'
import type { QueuePosition } from '../../../remoting/requests/queue.ts'
import {
  CONSUME_DIRECTLY,
  CONSUMER_OFFSETS,
  CONSUMER_RUNNING_INFO,
  decodeMemberOffsets,
  encodeConsumerOffsets,
  encodeRunningInfo,
} from '../../../remoting/requests/relay.ts'
import { groupResource, topicResource } from '../address.ts'
import { type Answer, answerBody, authorize, type Call, type RequestTable } from '../call.ts'
import { RECORD_BYTES } from '../read-budget.ts'
import { together } from '../together.ts'
import { subscriptionEntry } from './presence.ts'

export const relayRequests: RequestTable = new Map([
  [REQUEST.getConsumerRunningInfo, runningInfo],
  [REQUEST.consumeMessageDirectly, consumeDirectly],
  [REQUEST.getConsumerOffsets, consumerOffsets],
])

/** The signature of the caller is not among the fields that go on. */
interface Asked {
  readonly consumerGroup: string
  readonly clientId: string
}

async function runningInfo(call: Call): Promise<Answer> {
  const asked = readFields(CONSUMER_RUNNING_INFO, call.fields)
  authorize(call, 'manage', groupResource(asked.consumerGroup))
  return (await virtualInfo(call, asked)) ?? passOn(call, CONSUMER_RUNNING_INFO, asked)
}

/** Of the member that the broker is on behalf of consumers per message; undefined: it is none. */
async function virtualInfo(
  { context: { broker, clock } }: Call,
  { consumerGroup, clientId }: Asked,
): Promise<Answer | undefined> {
  const queues = await broker.clients.virtualQueues(consumerGroup, clientId)
  if (queues === undefined) return undefined
  const consumers = (await broker.clients.list())
    .filter((client) => client.clientId === clientId)
    .flatMap((client) => client.consumers.filter(({ group }) => group === consumerGroup))
  const subscriptions = consumers.flatMap((consumer) => consumer.subscriptions)
  const lags = await broker.groups.lags(consumerGroup)
  const held = queues.map((queue) => {
    const lag = lags.find((one) => one.topic === queue.topic && one.queueId === queue.queueId)
    return { queue, committed: lag?.committedOffset ?? -1, held: lag?.inFlight ?? 0 }
  })
  const member = { queues: held, subscriptions: subscriptions.map(subscriptionEntry) }
  return answerBody(encodeRunningInfo({ ...member, isOrdered: false, startedMs: 0 }, clock.now()))
}

/** The member consumes the message once more, whatever the group's place is. */
async function consumeDirectly(call: Call): Promise<Answer> {
  const asked = readFields(CONSUME_DIRECTLY, call.fields)
  authorize(call, 'manage', groupResource(asked.consumerGroup))
  const { identity, lookup } = call.context.broker
  const { position } = parseOffsetMessageId(asked.msgId)
  const record = await call.looks.within(RECORD_BYTES, () =>
    lookup.byPosition(identity.brokerName, position),
  )
  if (record === undefined) {
    throw new BrokerError('ARGUMENT_INVALID', `there is no message with the id '${asked.msgId}'`)
  }
  // The member reads it, and may be the caller's own.
  authorize(call, 'consume', topicResource(new RecordView(record).topic))
  const { brokerName } = identity
  return passOn(
    call,
    CONSUME_DIRECTLY,
    { ...asked, brokerName },
    call.context.ownProperties.shown(record),
  )
}

/** Of a member: it is read in one turn, as a request is. */
const OFFSETS_BYTES_MAX = 256 * 1024

/** Where members are by their own account; one that does not answer is left out. */
async function consumerOffsets(call: Call): Promise<Answer> {
  const { topic, group, clientAddr } = readFields(CONSUMER_OFFSETS, call.fields)
  authorize(call, 'manage', groupResource(group))
  authorize(call, 'read', topicResource(topic))
  const { clients } = call.context.broker
  const ids = await clients.consumerIds(group)
  if (ids.length === 0) {
    const remark = `No Any Consumer online in the consumer group: [${group}]`
    return { code: RESPONSE.systemError, remark }
  }
  const wanted = clientAddr === undefined || clientAddr === '' ? ids : [clientAddr]
  const fields = writeFields(CONSUMER_OFFSETS, { topic, group })
  const push = { code: REQUEST.getConsumerStatus, fields }
  const members = new Map<string, readonly QueuePosition[]>()
  await together(wanted, async (clientId) => {
    const asked = call.memberOf(group, clientId)?.request(push, call.signal)
    const offsets = await asked?.then(offsetsIn).catch(() => undefined)
    if (offsets !== undefined) members.set(clientId, offsets)
  })
  return answerBody(encodeConsumerOffsets(members))
}

/** @throws BrokerError where the body is none */
function offsetsIn({
  code = RESPONSE.success,
  body,
}: Answer): readonly QueuePosition[] | undefined {
  const isAnswer = code === RESPONSE.success && body !== undefined
  if (!isAnswer || body.length > OFFSETS_BYTES_MAX) return undefined
  return decodeMemberOffsets(Buffer.from(body))
}

async function passOn<L extends Layout>(
  { code, memberOf, signal }: Call,
  shape: L,
  asked: Values<L> & Asked,
  body?: Uint8Array,
): Promise<Answer> {
  const { consumerGroup, clientId } = asked
  const member = memberOf(consumerGroup, clientId)
  if (member === undefined) {
    return {
      code: RESPONSE.systemError,
      remark: `The Consumer <${consumerGroup}> <${clientId}> not online`,
    }
  }
  const fields = writeFields(shape, asked)
  const push = { code, fields, ...(body !== undefined && { body }) }
  const answer = await member.request(push, signal)
  const length = (answer.body?.length ?? 0) + (answer.remark?.length ?? 0) * ESCAPED_BYTES_MAX
  const error = tooLongForAnswer({ length })
  if (error !== undefined) throw error
  return answer
}

/** Of a character in the JSON of a header. */
const ESCAPED_BYTES_MAX = 6
