// SEND_REPLY_MESSAGE: the answer to a request, which a responder read from a topic. It is passed on
// to the native client that the request names, and stored nowhere: a requester that is gone does
// not come back for it. A requester of MQTT or AMQP is answered at the topic that it named.
import { BrokerError } from '../../../errors.ts'
import { formatHost, type Host } from '../../../model/host.ts'
import { BODY_BYTES_DEFAULT } from '../../../model/limits.ts'
import type { NewMessage } from '../../../model/message.ts'
import { AUTO_CREATE_TOPIC, replyTopic } from '../../../model/names.ts'
import { decodeProperties, PROPERTY } from '../../../model/properties.ts'
import { SYS_FLAG } from '../../../model/record.ts'
import { REQUEST, RESPONSE } from '../../../remoting/codes.ts'
import { readFields, writeFields } from '../../../remoting/layout.ts'
import { PUSH_REPLY } from '../../../remoting/requests/reply.ts'
import { SEND, SEND_RESPONSE, SEND_V2, type SendFields } from '../../../remoting/requests/send.ts'
import { sendReply } from '../../shared/replies.ts'
import { parseReplyAddress } from '../../shared/reply-address.ts'
import { topicResource } from '../address.ts'
import { type Answer, authorize, type Call, type Push, type RequestTable } from '../call.ts'
import { isOurFault } from '../errors.ts'
import { checkSendTopic } from '../send-batch.ts'

export const replyRequests: RequestTable = new Map([
  [REQUEST.sendReply, reply],
  [REQUEST.sendReplyV2, reply],
])

async function reply(call: Call): Promise<Answer> {
  const fields = readFields(call.code === REQUEST.sendReply ? SEND : SEND_V2, call.fields)
  authorize(call, 'publish', topicResource(fields.topic))
  checkSendTopic(fields.topic)
  const { topics, identity } = call.context.broker
  if ((await topics.get(fields.topic)) === undefined) {
    throw new BrokerError('TOPIC_NOT_FOUND', `topic[${fields.topic}] not exist`)
  }
  // The right to publish to another topic is no right to push to clients.
  const due = replyTopic(identity.clusterName)
  if (fields.topic !== due) return notPushed(`a reply is sent to the topic ${due}`)
  const properties = decodeProperties(Buffer.from(fields.properties ?? ''))
  const address = properties.get(PROPERTY.replyTo)
  if (address === undefined) {
    return notPushed(`reply message properties[${PROPERTY.replyTo}] is null`)
  }
  try {
    await pass(call, fields, address, properties)
    return accepted(fields)
  } catch (thrown) {
    const error = BrokerError.from(thrown)
    if (isOurFault(error) || !UNDELIVERED.has(error.code)) throw error
    return notPushed(
      error.code === 'CLIENT_NOT_FOUND'
        ? `push reply message fail, channel of <${address}> not found.`
        : `push reply message to ${address} fail.`,
    )
  }
}

/** The requester does not have it, whatever the reason. */
const UNDELIVERED: ReadonlySet<string> = new Set([
  'CLIENT_NOT_FOUND',
  'TIMED_OUT',
  'UNREACHABLE',
  'BUSY',
  'ABORTED',
])

/** @throws BrokerError */
async function pass(
  call: Call,
  fields: SendFields,
  to: string,
  properties: ReadonlyMap<string, string>,
): Promise<void> {
  const { context, principal, client, body } = call
  const bornHost = client.host
  const sent = asSent(fields, body, bornHost)
  const address = parseReplyAddress(to)
  if (address.kind === 'client') {
    const { clientId } = address
    return context.broker.replies.push(clientId, sent)
  }
  // A topic gets it as clients of any protocol read it.
  const [plain] = await context.inflation.inflate([sent], BODY_BYTES_DEFAULT)
  if ((plain!.sysFlag & SYS_FLAG.compressed) !== 0) {
    throw new BrokerError('MESSAGE_TOO_LARGE', 'the reply is too large when it is inflated')
  }
  return sendReply(context, principal, to, { body: plain!.body, properties, bornHost })
}

const asSent = (fields: SendFields, body: Buffer, bornHost: Host): NewMessage => ({
  ...{ topic: fields.topic, queueId: fields.queueId, body, bornHost, createTopic: false },
  ...{ flag: fields.flag, sysFlag: fields.sysFlag, bornTimestamp: fields.bornTimestamp },
  properties: Buffer.from(fields.properties ?? ''),
  reconsumeTimes: fields.reconsumeTimes ?? 0,
})

/** A reply as its requester is sent it, on the connection on which it asked. */
export function replyPush(reply: NewMessage, storeHost: Host, nowMs: number): Push {
  const own = Buffer.from(reply.properties).toString()
  const separator = own === '' || own.endsWith('\u0002') ? '' : '\u0002'
  const fields = writeFields(PUSH_REPLY, {
    producerGroup: REPLIER,
    topic: reply.topic,
    defaultTopic: AUTO_CREATE_TOPIC,
    defaultTopicQueueNums: 1,
    queueId: reply.queueId,
    sysFlag: reply.sysFlag,
    bornTimestamp: reply.bornTimestamp,
    flag: reply.flag,
    properties: `${own}${separator}PUSH_REPLY_TIME\u0001${nowMs}\u0002`,
    reconsumeTimes: reply.reconsumeTimes,
    unitMode: false,
    bornHost: formatHost(reply.bornHost),
    storeHost: formatHost(storeHost),
    storeTimestamp: nowMs,
  })
  return { code: REQUEST.pushReply, fields, body: reply.body }
}

/** Clients ask for a group and look at none. */
const REPLIER = 'TRIVET_REPLIER'

const notPushed = (remark: string): Answer => ({ code: RESPONSE.systemError, remark })

/** As Apache's broker answers for a reply that it does not store. */
const accepted = ({ queueId }: SendFields): Answer => ({
  fields: writeFields(SEND_RESPONSE, {
    msgId: '0',
    queueId: Math.max(0, queueId),
    queueOffset: 0,
    MSG_REGION: 'DefaultRegion',
    TRACE_ON: 'true',
  }),
})
