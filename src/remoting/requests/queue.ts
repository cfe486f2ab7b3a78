// A message queue in a body: `{"brokerName":"b","queueId":0,"topic":"T"}`, also as the key of a
// map.
import type { JsonMap } from '../json/json.ts'
import type { JsonOut } from '../json/json-emitter.ts'
import { numberAt, textAt } from '../json/json-members.ts'

export interface QueueRef {
  readonly brokerName: string
  readonly queueId: number
  readonly topic: string
}

/** Members in the order in which Java writes them, which readers of object keys rely on. */
export const queueOut = (queue: QueueRef): { readonly [member: string]: JsonOut } => ({
  brokerName: queue.brokerName,
  queueId: queue.queueId,
  topic: queue.topic,
})

export const queueOf = (map: JsonMap): QueueRef => ({
  brokerName: textAt(map, 'brokerName'),
  queueId: numberAt(map, 'queueId'),
  topic: textAt(map, 'topic'),
})
