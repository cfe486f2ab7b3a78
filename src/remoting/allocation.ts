// Shares the queues of a topic out over a group's members. Every member of RocketMQ computes this
// alone from the same two lists, so the rules and both orders must be RocketMQ's to the letter
// (AllocateMessageQueueAveragely, AllocateMessageQueueAveragelyByCircle).
import type { QueueName } from '../model/message.ts'

export const queueKey = (queue: QueueName): string =>
  `${queue.topic}\u0000${queue.brokerName}\u0000${queue.queueId}`

/** Java's order of MessageQueue: topic, broker name, queue id. */
export function compareQueues(a: QueueName, b: QueueName): number {
  if (a.topic !== b.topic) return a.topic < b.topic ? -1 : 1
  if (a.brokerName !== b.brokerName) return a.brokerName < b.brokerName ? -1 : 1
  return a.queueId - b.queueId
}

/** The share of `self`; empty when it is not among the members (not registered yet, or expired). */
export type Allocate = (
  queues: readonly QueueName[],
  memberIds: readonly string[],
  self: string,
) => QueueName[]

export const allocateAveragely: Allocate = (queues, memberIds, self) => {
  const { sorted, members, index } = inOrder(queues, memberIds, self)
  if (index < 0) return []
  const rest = sorted.length % members.length
  const share = Math.floor(sorted.length / members.length)
  const from = index * share + Math.min(index, rest)
  return sorted.slice(from, from + share + (index < rest ? 1 : 0))
}

const allocateByCircle: Allocate = (queues, memberIds, self) => {
  const { sorted, members, index } = inOrder(queues, memberIds, self)
  return index < 0 ? [] : sorted.filter((_, at) => at % members.length === index)
}

/** By RocketMQ's names of them. */
export const ALLOCATIONS: ReadonlyMap<string, Allocate> = new Map([
  ['AVG', allocateAveragely],
  ['AVG_BY_CIRCLE', allocateByCircle],
])

function inOrder(queues: readonly QueueName[], memberIds: readonly string[], self: string) {
  const members = [...new Set(memberIds)].sort()
  return { sorted: [...queues].sort(compareQueues), members, index: members.indexOf(self) }
}
