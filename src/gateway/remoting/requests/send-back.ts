// CONSUMER_SEND_MSG_BACK: a consumer wants a message again later, or dead-lettered.
import { BrokerError } from '../../../errors.ts'
import { logPosition } from '../../../model/positions.ts'
import { REQUEST, VERSION } from '../../../remoting/codes.ts'
import { readFields } from '../../../remoting/layout.ts'
import { SEND_BACK } from '../../../remoting/requests/send-back.ts'
import { groupResource } from '../address.ts'
import { type Answer, authorize, type Call, DONE, type RequestTable } from '../call.ts'

export const sendBackRequests: RequestTable = new Map([[REQUEST.sendMessageBack, sendBack]])

async function sendBack(call: Call): Promise<Answer> {
  const { group, offset, delayLevel, maxReconsumeTimes } = readFields(SEND_BACK, call.fields)
  authorize(call, 'consume', groupResource(group))
  if (offset < 0) {
    throw new BrokerError('ARGUMENT_INVALID', `${offset} is no position of a message`)
  }
  await call.context.broker.sendBack({
    group,
    position: logPosition(offset),
    delayLevel,
    retryTimesMax: call.version >= VERSION.v3_4_9 ? maxReconsumeTimes : undefined,
  })
  return DONE
}
