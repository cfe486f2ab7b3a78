// One queue of the log as a word, and the identity of its messages in aedes: it takes a message of
// one `brokerId` for a double when its count is not above the last one's, so that each queue is a
// broker to it, and its offsets are the counts.
import type { QueueName } from '../model/message.ts'
import type { Packet } from './packet.ts'

export type QueueKey = string

export const keyOf = ({ topic, queueId, brokerName }: QueueName): QueueKey =>
  `${topic}/${queueId}/${brokerName}`

export function queueOf(key: QueueKey): QueueName {
  const [topic = '', queueId = ''] = key.split('/', 2)
  const brokerName = key.slice(topic.length + queueId.length + 2)
  return { topic, queueId: Number(queueId), brokerName }
}

export interface Place {
  readonly key: QueueKey
  readonly offset: number
}

const PREFIX = 'trivet:'

export const identityOf = ({ key, offset }: Place) => ({
  brokerId: PREFIX + key,
  // Counts of aedes begin at 1.
  brokerCounter: offset + 1,
})

/** undefined: it was not read from the log. */
export function placeOf({ brokerId, brokerCounter }: Packet): Place | undefined {
  if (!brokerId?.startsWith(PREFIX) || brokerCounter === undefined) return undefined
  return { key: brokerId.slice(PREFIX.length), offset: brokerCounter - 1 }
}
