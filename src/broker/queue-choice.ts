// Which queue a message goes to when its sender leaves the choice to the broker.
import { tagHash } from '../model/tag-filter.ts'
import type { Topic } from './topics.ts'

/** One key, one queue; the same queue that Java's SelectMessageQueueByHash takes for a String. */
export const queueOfKey = (key: string, queues: number): number => Math.abs(tagHash(key) % queues)

/** The next queue in turn. */
export function queueInTurn(topic: Topic): number {
  const turn = topic.turn >= topic.definition.writeQueues ? 0 : topic.turn
  topic.turn = turn + 1
  return turn
}
