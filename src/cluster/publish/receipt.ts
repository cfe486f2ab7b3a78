// A broker's answer to a send as the receipts of the Broker port.
import type { SendAnswer } from '../../client/calls/calls.ts'
import { type Host, NO_HOST } from '../../model/host.ts'
import type { PublishReceipt } from '../../model/message.ts'
import { parseOffsetMessageId } from '../../model/message-id.ts'
import { type LogPosition, logPosition, queueOffset } from '../../model/positions.ts'
import { findProperty, PROPERTY } from '../../model/properties.ts'
import type { ParcelItem } from './parcel.ts'

const IPV4_ID_DIGITS = 32
const POSITION_DIGITS = 16

/** One for each message of the request, in order. */
export function receiptsOf(
  brokerName: string,
  answer: SendAnswer,
  items: readonly ParcelItem[],
): PublishReceipt[] {
  const { queueId, offsetMessageIds, recallHandle } = answer
  return items.map(({ isHalf, properties }, i) => ({
    brokerName,
    queueId,
    queueOffset: queueOffset(answer.queueOffset + i),
    ...placeOf(offsetMessageIds[i] ?? ''),
    ...(recallHandle !== undefined && { recallHandle }),
    ...(isHalf && { transactionId: findProperty(properties, PROPERTY.uniqueKey) ?? '' }),
  }))
}

/** A broker with an IPv6 address writes a longer id, whose host no record has. */
function placeOf(id: string): { position: LogPosition; storeHost: Host } {
  if (id.length === IPV4_ID_DIGITS) {
    const { host, position } = parseOffsetMessageId(id)
    return { position, storeHost: host }
  }
  const digits = Number.parseInt(id.slice(-POSITION_DIGITS), 16)
  return { position: logPosition(Number.isNaN(digits) ? 0 : digits), storeHost: NO_HOST }
}
