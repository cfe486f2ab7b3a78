// How far a group is behind, queue by queue.
import { type Clock, Slice } from '../clock.ts'
import type { QueueLag } from '../model/message.ts'
import { isLightQueue, retryTopic } from '../model/names.ts'

import type { MessageStore } from '../store/store.ts'
import type { ClientTable } from './clients.ts'
import type { CursorTable } from './consume/cursors.ts'
import type { Receiver } from './consume/receiver.ts'
import type { TopicTable } from './definitions/topics.ts'
import type { BrokerOptions } from './options.ts'

export interface LagParts {
  readonly clock: Clock
  readonly options: BrokerOptions
  readonly store: MessageStore
  readonly topics: TopicTable
  readonly cursors: CursorTable
  readonly clients: ClientTable
  readonly receiver: Receiver
}

/** Every queue of every topic that the group has a cursor on or a member subscribed to. */
export async function groupLags(parts: LagParts, group: string): Promise<QueueLag[]> {
  const queues = new Map<string, number>()
  const slice = new Slice(parts.clock)
  const atLeast = (topic: string, count: number): void => {
    queues.set(topic, Math.max(count, queues.get(topic) ?? 0))
  }
  for (const topic of [...parts.clients.subscribedTopics(group), retryTopic(group)]) {
    atLeast(topic, queueCount(parts.topics, topic))
  }
  for (const [topic, count] of parts.cursors.topicsOf(group)) {
    if (slice.isOver) await slice.rest()
    atLeast(topic, Math.max(count, queueCount(parts.topics, topic)))
  }
  const lags: QueueLag[] = []
  for (const topic of [...queues.keys()].sort()) {
    for (let queueId = 0; queueId < queues.get(topic)!; queueId++) {
      if (slice.isOver) await slice.rest()
      lags.push(queueLag(parts, group, topic, queueId))
    }
  }
  return lags
}

function queueLag(parts: LagParts, group: string, topic: string, queueId: number): QueueLag {
  const { minOffset, maxOffset } = parts.store.range(topic, queueId)
  const committed = parts.cursors.committed(group, topic, queueId)
  const from = Math.max(committed ?? minOffset, minOffset)
  return {
    ...{ topic, brokerName: parts.options.brokerName, queueId },
    minOffset,
    maxOffset,
    committedOffset: committed ?? -1,
    inFlight: parts.receiver.inFlight(group, topic, queueId),
    lag: Math.max(0, maxOffset - from),
  }
}

const queueCount = (topics: TopicTable, topic: string): number =>
  isLightQueue(topic) ? 1 : (topics.find(topic)?.definition.readQueues ?? 0)
