// How far a group is behind: queue by queue, or topic by topic.
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
  const slice = new Slice(parts.clock)
  const queues = await queuesOf(parts, group, slice)
  const lags: QueueLag[] = []
  for (const topic of [...queues.keys()].sort()) {
    for (let queueId = 0; queueId < queues.get(topic)!; queueId++) {
      if (slice.isOver) await slice.rest()
      lags.push(queueLag(parts, group, topic, queueId))
    }
  }
  return lags
}

export interface TopicLag {
  readonly group: string
  readonly topic: string
  readonly lag: number
  readonly inFlight: number
}

/** The same, added up for each topic. */
export async function topicLags(
  parts: LagParts,
  group: string,
  slice: Slice,
): Promise<readonly TopicLag[]> {
  const lags: TopicLag[] = []
  for (const [topic, count] of await queuesOf(parts, group, slice)) {
    let [lag, inFlight] = [0, 0]
    for (let queueId = 0; queueId < count; queueId++) {
      if (slice.isOver) await slice.rest()
      const { minOffset, maxOffset } = parts.store.range(topic, queueId)
      if (maxOffset === 0) continue
      const committed = parts.cursors.committed(group, topic, queueId)
      lag += Math.max(0, maxOffset - Math.max(committed ?? minOffset, minOffset))
      inFlight += parts.receiver.inFlight(group, topic, queueId)
    }
    lags.push({ group, topic, lag, inFlight })
  }
  return lags
}

/** How many queues of each topic. */
async function queuesOf(
  parts: LagParts,
  group: string,
  slice: Slice,
): Promise<ReadonlyMap<string, number>> {
  const queues = new Map<string, number>()
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
  return queues
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
