// The priority of a message is the number of its queue: topics of every type have as many levels as
// they have queues, and consumers that want the highest first read those from the top. Nothing is
// sorted within a queue. As with Apache's broker (SendMessageProcessor) a message is of one kind: a
// delay or an ordering key comes before its priority, which is dropped then. Pure.
import {
  decodeProperties,
  orderingKeyOf,
  PROPERTY,
  withoutProperties,
} from '../../model/properties.ts'

/** What Java parses as an int that is no less than 0. */
const LEVEL = /^\+?\d{1,10}$/
const LEVEL_MAX = 2 ** 31 - 1
const OWN = new Set([PROPERTY.priority])

export interface Prioritised {
  readonly queueId: number
  readonly properties: Uint8Array
}

/** `queueId`: where the message goes without a priority. */
export function prioritised(
  properties: Uint8Array,
  queueId: number,
  writeQueues: number,
  isDelayed: boolean,
): Prioritised {
  const all = decodeProperties(properties)
  const text = all.get(PROPERTY.priority) ?? ''
  if (!LEVEL.test(text) || Number(text) > LEVEL_MAX) return { queueId, properties }
  if (isDelayed || orderingKeyOf((name) => all.get(name)) !== undefined) {
    return { queueId, properties: withoutProperties(properties, OWN) }
  }
  return { queueId: Math.min(Number(text), writeQueues - 1), properties }
}
