// INVOKE_BROKER_TO_RESET_OFFSET: an operator moves a group. `isForce` changes nothing, as on
// Apache's broker of 5.5.
import { BrokerError } from '../../../errors.ts'
import { topicOnWire } from '../../../model/names.ts'
import { REQUEST, RESPONSE } from '../../../remoting/codes.ts'
import { readFields } from '../../../remoting/layout.ts'
import { encodeQueuePositions, RESET_OFFSET } from '../../../remoting/requests/reset.ts'
import { type ResetPlace, resetGroup } from '../../admin/reset.ts'
import { type Answer, answerBody, type Call, type RequestTable } from '../call.ts'
import { offsetByTime } from '../record-at.ts'

export const resetRequests: RequestTable = new Map([[REQUEST.resetOffset, resetOffset]])

async function resetOffset(call: Call): Promise<Answer> {
  const { group, topic, queueId, offset, timestamp } = readFields(RESET_OFFSET, call.fields)
  // Below 0: not given, and for a time the end.
  const given = (value: number | undefined) =>
    value === undefined || value < 0 ? undefined : value
  const request = {
    ...{ group, topic, queueId: given(queueId), offset: given(offset) },
    timestampMs: given(timestamp),
  }
  let places: readonly ResetPlace[]
  try {
    places = await resetGroup(call, request, (queue, timestampMs) =>
      offsetByTime(call, queue, timestampMs, 'lower'),
    )
  } catch (error) {
    const { code, message } = BrokerError.from(error)
    if (code === 'OFFSET_OUT_OF_RANGE') return { code: RESPONSE.systemError, remark: message }
    throw error
  }
  return answerBody(
    encodeQueuePositions(
      places.map(({ queue, offset }) => ({
        queue: { ...queue, topic: topicOnWire(queue.topic) },
        offset,
      })),
    ),
  )
}
