// QUERY_CONSUME_QUEUE (321): the entries of a queue, for operators.
import { jsonBody } from '../json/json-emitter.ts'
import { int, layout, long, optional, text } from '../layout.ts'
import { SUBSCRIPTION, type SubscriptionEntry } from './clients.ts'

export const QUERY_QUEUE_ENTRIES = layout({
  topic: text,
  queueId: int,
  index: long,
  count: int,
  consumerGroup: optional(text),
})

export interface QueueEntry {
  readonly position: number
  readonly size: number
  readonly tagHash: number
  /** Does the group's subscription select it? undefined where no group was named. */
  readonly isSelected: boolean | undefined
}

export interface QueueEntries {
  readonly minOffset: number
  readonly maxOffset: number
  readonly entries: readonly QueueEntry[]
  readonly subscription: SubscriptionEntry | undefined
  /** What there is to say of the group's subscription. */
  readonly filterData: string | undefined
}

export const encodeQueueEntries = (found: QueueEntries): Buffer =>
  jsonBody({
    filterData: found.filterData,
    maxQueueIndex: found.maxOffset,
    minQueueIndex: found.minOffset,
    queueData: found.entries.map(({ position, size, tagHash, isSelected }) => ({
      eval: isSelected === true,
      physicOffset: position,
      physicSize: size,
      tagsCode: tagHash,
    })),
    subscriptionData: found.subscription && SUBSCRIPTION.out(found.subscription),
  })
