// RECALL_MESSAGE, with the codes and remarks of Apache's RecallMessageProcessor.
import { BrokerError } from '../../../errors.ts'
import { REQUEST, RESPONSE } from '../../../remoting/codes.ts'
import { readFields, writeFields } from '../../../remoting/layout.ts'
import { RECALL, RECALLED } from '../../../remoting/requests/recall.ts'
import { topicResource } from '../address.ts'
import { type Answer, answerFields, authorize, type Call, type RequestTable } from '../call.ts'

export const recallRequests: RequestTable = new Map([[REQUEST.recallMessage, recallMessage]])

async function recallMessage(call: Call): Promise<Answer> {
  const { topic, recallHandle } = readFields(RECALL, call.fields)
  authorize(call, 'publish', topicResource(topic))
  try {
    const msgId = await call.context.broker.recall(topic, recallHandle)
    return answerFields(writeFields(RECALLED, { msgId, MSG_REGION: 'DefaultRegion' }))
  } catch (thrown) {
    const { code, message } = BrokerError.from(thrown)
    const isRefused = code === 'ARGUMENT_INVALID' || code === 'MESSAGE_NOT_FOUND'
    if (!isRefused) throw thrown
    return { code: RESPONSE.illegalOperation, remark: message }
  }
}
