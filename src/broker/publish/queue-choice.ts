// Which queue a message goes to when its sender leaves the choice to the broker and gives no key.
import type { Topic } from '../definitions/topics.ts'

/** The next queue in turn. */
export function queueInTurn(topic: Topic): number {
  const turn = topic.turn >= topic.definition.writeQueues ? 0 : topic.turn
  topic.turn = turn + 1
  return turn
}
