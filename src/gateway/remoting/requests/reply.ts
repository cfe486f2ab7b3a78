// SEND_REPLY_MESSAGE: the answer to a request, which a responder read from a topic. It is passed on
// to the connection of the client that the request names, and stored nowhere: a requester that is
// gone does not come back for it.
import { BrokerError } from '../../../errors.ts'
import { formatHost } from '../../../model/host.ts'
import { replyTopic } from '../../../model/names.ts'
import { findProperty, PROPERTY } from '../../../model/properties.ts'
import { REQUEST, RESPONSE } from '../../../remoting/codes.ts'
import { readFields, writeFields } from '../../../remoting/layout.ts'
import { PUSH_REPLY } from '../../../remoting/requests/reply.ts'
import { SEND, SEND_RESPONSE, SEND_V2, type SendFields } from '../../../remoting/requests/send.ts'
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
  const clientId = findProperty(Buffer.from(fields.properties ?? ''), PROPERTY.replyTo)
  if (clientId === undefined) {
    return notPushed(`reply message properties[${PROPERTY.replyTo}] is null`)
  }
  const requester = call.producerOf(clientId)
  if (requester === undefined) {
    return notPushed(`push reply message fail, channel of <${clientId}> not found.`)
  }
  try {
    const { code } = await requester.request(pushOf(call, fields), call.signal)
    if (code === RESPONSE.success) return accepted(fields)
  } catch (thrown) {
    const error = BrokerError.from(thrown)
    if (isOurFault(error) || call.signal.aborted) throw error
  }
  return notPushed(`push reply message to ${clientId} fail.`)
}

function pushOf({ context, client, body }: Call, fields: SendFields): Push {
  const now = context.clock.now()
  const properties = fields.properties ?? ''
  const separator = properties === '' || properties.endsWith('\u0002') ? '' : '\u0002'
  const pushed = writeFields(PUSH_REPLY, {
    ...fields,
    properties: `${properties}${separator}PUSH_REPLY_TIME\u0001${now}\u0002`,
    bornHost: client.address,
    storeHost: formatHost(context.broker.identity.storeHost),
    storeTimestamp: now,
  })
  return { code: REQUEST.pushReply, fields: pushed, body }
}

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
