// Shares the queues out over a group's members. Every member computes this alone from the same two
// lists, so the rule and both orders must be RocketMQ's to the letter
// (AllocateMessageQueueAveragely).

import type { QueueRef } from '../../remoting/requests/queue.ts'

export const queueKey = (queue: QueueRef): string =>
  `${queue.topic}\u0000${queue.brokerName}\u0000${queue.queueId}`

/** Java's order of MessageQueue: topic, broker name, queue id. */
export function compareQueues(a: QueueRef, b: QueueRef): number {
  if (a.topic !== b.topic) return a.topic < b.topic ? -1 : 1
  if (a.brokerName !== b.brokerName) return a.brokerName < b.brokerName ? -1 : 1
  return a.queueId - b.queueId
}

/** The share of `self`; empty when it is not among the members (not registered yet, or expired). */
export function allocateAveragely(
  queues: readonly QueueRef[],
  memberIds: readonly string[],
  self: string,
): QueueRef[] {
  const members = [...new Set(memberIds)].sort()
  const sorted = [...queues].sort(compareQueues)
  const index = members.indexOf(self)
  if (index < 0) return []
  const rest = sorted.length % members.length
  const share = Math.floor(sorted.length / members.length)
  const from = index * share + Math.min(index, rest)
  return sorted.slice(from, from + share + (index < rest ? 1 : 0))
}
