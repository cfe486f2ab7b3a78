// Names on the native wire are RocketMQ's own, so a topic, group or queue means itself. What is
// left to decide here: which resource a name stands for, and what a subscription expression
// selects.

import type { Resource } from '../../access/auth.ts'
import { isRetryTopic, RETRY_PREFIX } from '../../model/names.ts'

export const topicResource = (name: string): Resource => ({ kind: 'topic', name })
export const groupResource = (name: string): Resource => ({ kind: 'group', name })
export const CLUSTER: Resource = { kind: 'cluster' }

/**
 * A retry topic belongs to its group: the right to consume in the group is the right to read it and
 * send to it.
 */
export const retryGroupOf = (topic: string): string | undefined =>
  isRetryTopic(topic) ? topic.slice(RETRY_PREFIX.length) : undefined
