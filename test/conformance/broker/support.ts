// What the parts of the suite share: topics of their own, reading through the port, and time.
import { nextTurn } from '../../../src/clock.ts'
import { BrokerError } from '../../../src/errors.ts'
import type { PublishReceipt, PublishResult, QueueRange } from '../../../src/model/message.ts'
import { recordsOf } from '../../../src/model/record.ts'
import type { Broker } from '../../../src/port/broker.ts'
import {
  bodiesOf,
  type MessageShape,
  newMessage,
  pullRequest,
  topicOf,
} from '../../support/broker.ts'
import { nameOf } from './names.ts'

/** How long a read waits for what must come. */
export const WAIT_MS = 20_000

export async function newTopic({ topics }: Broker, queues = 1): Promise<string> {
  const topic = nameOf('topic')
  await topics.put(topicOf(topic, queues))
  return topic
}

/** A group that consumes from the first message on. */
export async function newGroup({ groups }: Broker): Promise<string> {
  const group = nameOf('group')
  await groups.ensure(group)
  return group
}

export async function firstQueue({ topics }: Broker, topic: string): Promise<QueueRange> {
  const [queue] = await topics.ranges(topic)
  if (queue === undefined) throw new Error(`the topic '${topic}' has no queue`)
  return queue
}

export function stored(result: PublishResult | undefined): PublishReceipt {
  if (result === undefined || result instanceof BrokerError) throw result
  return result
}

/** To the topic's first queue, in this order. Settles when readers are shown its end. */
export async function send(broker: Broker, topic: string, ...bodies: string[]): Promise<void> {
  const queue = await firstQueue(broker, topic)
  const { brokerName } = queue
  const shape: MessageShape = { brokerName, queueId: 0 }
  const results = await broker.publish(bodies.map((body) => newMessage(topic, { ...shape, body })))
  const last = results.map(stored).at(-1)
  if (last === undefined) return
  while ((await broker.cursors.range(queue)).maxOffset <= last.queueOffset) await nextTurn()
}

/** So many bodies of a queue, from an offset. */
export async function read(
  broker: Broker,
  topic: string,
  count: number,
  from: Partial<QueueRange> & { offset?: number } = {},
): Promise<string[]> {
  const queue =
    from.brokerName === undefined ? { ...(await firstQueue(broker, topic)), ...from } : from
  const bodies: string[] = []
  let offset = from.offset ?? Number(queue.minOffset ?? 0)
  while (bodies.length < count) {
    const { brokerName = '', queueId = 0 } = queue
    const request = { brokerName, queueId, offset, waitMs: WAIT_MS, maxBytes: 1 << 25 }
    const pulled = await broker.pull(pullRequest(topic, request))
    bodies.push(...bodiesOf(pulled))
    offset = Number(pulled.nextOffset)
  }
  return bodies
}

/** What a promise has come to so far. */
export function watched<T>(promise: Promise<T>): { readonly isSettled: boolean } {
  const state = { isSettled: false }
  const settled = (): void => {
    state.isSettled = true
  }
  promise.then(settled, settled)
  return state
}

/** When a queue's first messages were stored. */
export const storeTimes = (records: Buffer): number[] =>
  [...recordsOf(records)].map((record) => record.storeTimestamp)
