// CONSUMER_SEND_MSG_BACK: a consumer wants a message again later, or dead-lettered.
import { BrokerError } from '../../../errors.ts'
import { type LogPosition, logPosition } from '../../../model/positions.ts'
import { RecordView } from '../../../model/record.ts'
import { REQUEST, RESPONSE, VERSION } from '../../../remoting/codes.ts'
import { readFields } from '../../../remoting/layout.ts'
import { SEND_BACK } from '../../../remoting/requests/send-back.ts'
import { groupResource, topicResource } from '../address.ts'
import { type Answer, authorize, type Call, DONE, type RequestTable } from '../call.ts'
import { RECORD_BYTES } from '../read-budget.ts'

export const sendBackRequests: RequestTable = new Map([[REQUEST.sendMessageBack, sendBack]])

async function sendBack(call: Call): Promise<Answer> {
  const { group, offset, delayLevel, maxReconsumeTimes } = readFields(SEND_BACK, call.fields)
  authorize(call, 'consume', groupResource(group))
  if (offset < 0) return notFound(offset)
  const position = logPosition(offset)
  const retryTimesMax = call.version >= VERSION.v3_4_9 ? maxReconsumeTimes : undefined
  return call.looks.within(RECORD_BYTES, async () => {
    if (!call.principal.admin) await authorizeMessage(call, position)
    const { broker } = call.context
    const { brokerName } = broker.identity
    try {
      await broker.sendBack({ group, brokerName, position, delayLevel, retryTimesMax })
    } catch (error) {
      if (BrokerError.from(error).code === 'MESSAGE_NOT_FOUND') return notFound(offset)
      throw error
    }
    return DONE
  })
}

/** As Apache's broker says it. */
const notFound = (offset: number): Answer => ({
  code: RESPONSE.systemError,
  remark: `look message by offset failed, ${offset}`,
})

/**
 * The group's consumers read the copy, so the caller must be allowed to read the message itself.
 */
async function authorizeMessage(call: Call, position: LogPosition): Promise<void> {
  const { identity, lookup } = call.context.broker
  const record = await lookup.byPosition(identity.brokerName, position)
  // The broker's sendBack reports a missing message.
  if (record === undefined) return
  authorize(call, 'consume', topicResource(new RecordView(record).topic))
}
