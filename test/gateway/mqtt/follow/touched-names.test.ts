// Which topics a session's filters touch, and what a session that is behind asks when one goes.
import test from 'ava'
import type { StreamReader } from '../../../../src/gateway/mqtt/deliver/stream.ts'
import { Audience } from '../../../../src/gateway/mqtt/follow/audience.ts'
import {
  FollowStream,
  type StreamsTopics,
} from '../../../../src/gateway/mqtt/follow/follow-stream.ts'
import type { FollowedQueue } from '../../../../src/gateway/mqtt/follow/followed-queue.ts'
import { TouchedNames } from '../../../../src/gateway/mqtt/follow/touched-names.ts'
import type { OutgoingMessage } from '../../../../src/gateway/mqtt/outgoing/outgoing-message.ts'
import type { Session } from '../../../../src/gateway/mqtt/session/session.ts'
import { MQTT_CATCH_ALL_TOPIC } from '../../../../src/model/names.ts'
import { queueOffset } from '../../../../src/model/positions.ts'
import { subscriptionOf } from '../../../support/mqtt/mqtt-places.ts'

test('a topic is touched by filters that name it, and by those that begin with a wildcard', (t) => {
  const names = new TouchedNames()
  const touched = () => ['orders', 'sensors', MQTT_CATCH_ALL_TOPIC].map((name) => names.has(name))
  t.deepEqual(touched(), [false, false, false])
  for (const filter of ['orders/a', 'orders/#']) names.add(filter)
  t.deepEqual(touched(), [true, false, true])
  names.delete('orders/a')
  t.deepEqual(touched(), [true, false, true])
  names.add('+/a')
  names.delete('orders/#')
  t.deepEqual(touched(), [true, true, true])
  names.delete('+/a')
  t.deepEqual(touched(), [false, false, false])
})

test('a filter that goes is no reason to look at the others, also while a session is behind', (t) => {
  let looked = 0
  const topics = {
    ...{ audience: new Audience<FollowedQueue>(), line: { wake: () => {} } },
    ...{ touch: () => {}, untouch: () => {}, leave: () => {} },
    touchedBy: (filters: Iterable<string>) => {
      looked += [...filters].length
      return new Set()
    },
  } as unknown as StreamsTopics
  const stream = new FollowStream(topics, {} as Session, {} as StreamReader)
  const name = { topic: 'orders', brokerName: 'broker-a', queueId: 0 }
  const queue = { name, head: queueOffset(8), knownEnd: 8 } as unknown as FollowedQueue
  const filters = Array.from({ length: 100 }, (_, i) => subscriptionOf(`orders/${i}`, []))
  for (const filter of filters) stream.add(filter)
  const delivery = { offset: queueOffset(7), bytes: Buffer.alloc(0) } as unknown as OutgoingMessage
  stream.offer(queue, delivery, { alone: [filters[0]!], recipient: stream })
  stream.dropBatches()
  t.is(stream.behind, 1)
  for (const filter of filters.slice(1)) stream.remove(filter)
  t.deepEqual([stream.behind, looked], [1, 0])
  stream.remove(filters[0]!)
  t.is(stream.behind, 0)
})
