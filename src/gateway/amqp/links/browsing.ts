// Browsing a group: the messages it could be handed now, read by position and left in place. That
// is those that wait to be handed out again, of its topic and of its retry topic, and new ones.
import { retryTopic } from '../../../model/names.ts'
import type { Broker } from '../../../port/broker.ts'
import type { QueueCursor } from './queue-feed.ts'

/**
 * As it is now; what arrives later on the topic is read too. `wanted`: of the queues of this id
 * only.
 */
export async function cursorsOfGroup(
  broker: Broker,
  group: string,
  topic: string,
  wanted: number | undefined,
): Promise<QueueCursor[]> {
  const cursors: QueueCursor[] = []
  const retries = retryTopic(group)
  for (const from of [topic, retries]) {
    if (from === retries && (await broker.topics.get(from)) === undefined) break
    for (const range of await broker.topics.ranges(from)) {
      const { brokerName, queueId, minOffset } = range
      if (from === topic && wanted !== undefined && queueId !== wanted) continue
      const { waiting, next } = await broker.cursors.available(group, range)
      const offset = next > minOffset ? next : minOffset
      const place = { topic: from, brokerName, queueId, offset, waiting: [...waiting] }
      cursors.push({ ...place, mayHaveMore: true })
    }
  }
  return cursors
}
