// What a session reads from several brokers, whose logs count their positions each for itself.
import test from 'ava'
import fc from 'fast-check'
import type {
  Batch,
  LightFeed,
  LightFeedReader,
  LightFeeds,
} from '../../../src/gateway/mqtt/deliver/light-feed.ts'
import { Streams } from '../../../src/gateway/mqtt/deliver/streams.ts'
import type { OutgoingMessage } from '../../../src/gateway/mqtt/outgoing/outgoing-message.ts'
import type { Place } from '../../../src/gateway/mqtt/session/subscriptions.ts'
import { logPosition, type QueueOffset, queueOffset } from '../../../src/model/positions.ts'
import { placeOn, subscriptionOf } from '../../support/mqtt-places.ts'

const READER = {} as LightFeedReader

/** Queues with these positions, all of them read already. */
function feedsOf(queues: ReadonlyMap<Place, readonly number[]>): LightFeeds {
  const feeds = new Map<Place, LightFeed>()
  for (const [queue, positions] of queues) {
    const deliveries = positions.map(
      (position) =>
        ({ brokerName: queue.brokerName, position: logPosition(position) }) as OutgoingMessage,
    )
    const end = queueOffset(positions.length)
    const batch: Batch = { start: queueOffset(0), deliveries, end, bytes: 0, readAt: 1 }
    feeds.set(queue, {
      queue,
      movedFrom: () => undefined,
      batchAt: (offset: QueueOffset) => (offset < end ? batch : undefined),
      isEmptySince: () => true,
    } as unknown as LightFeed)
  }
  const find = (queue: Place) => feeds.get(queue)
  return { find, open: find, close: () => {} } as unknown as LightFeeds
}

/** `broker position filters`, of everything that comes. */
function drain(streams: Streams): string[] {
  const all: string[] = []
  while (streams.next() === 'ready') {
    const { brokerName, position } = streams.delivery!
    all.push(`${brokerName} ${position} ${streams.matching.map(({ text }) => text).join()}`)
    streams.advance()
  }
  return all
}

test('the same position on two brokers is two messages, and neither broker waits for the other', (t) => {
  const [a, b] = [placeOn('f', 'a'), placeOn('f', 'b')]
  const streams = new Streams(
    feedsOf(
      new Map([
        [a, [5, 9]],
        [b, [5, 7, 8]],
      ]),
    ),
    READER,
  )
  streams.add(subscriptionOf('f', [a, b]))
  t.deepEqual(drain(streams), ['a 5 f', 'b 5 f', 'a 9 f', 'b 7 f', 'b 8 f'])
  t.deepEqual([a.next, b.next], [queueOffset(2), queueOffset(3)])
})

test('each broker comes in its order, and what several filters select on it comes once', (t) => {
  const positions = fc.uniqueArray(fc.nat(60), { maxLength: 30 })
  const queues = fc.array(fc.tuple(fc.constantFrom('a', 'b', 'c'), positions), { maxLength: 8 })
  fc.assert(
    fc.property(queues, (list) => {
      const places = new Map<Place, number[]>()
      list.forEach(([broker, some], i) => {
        places.set(
          placeOn(`f${i}`, broker),
          some.sort((x, y) => x - y),
        )
      })
      const streams = new Streams(feedsOf(places), READER)
      for (const place of places.keys()) streams.add(subscriptionOf(place.topic, [place]))
      const seen = drain(streams)
      for (const broker of ['a', 'b', 'c']) {
        const expected = new Map<number, string[]>()
        for (const [place, some] of places) {
          if (place.brokerName !== broker) continue
          for (const position of some) {
            expected.set(position, [...(expected.get(position) ?? []), place.topic])
          }
        }
        const inOrder = [...expected].sort(([x], [y]) => x - y)
        t.deepEqual(
          seen
            .filter((line) => line.startsWith(broker))
            .map((line) => [Number(line.split(' ')[1]), line.split(' ')[2]!.split(',').sort()]),
          inOrder.map(([position, filters]) => [position, filters.sort()]),
        )
      }
    }),
    { numRuns: 200 },
  )
})

test('a filter that comes in later passes over what its broker had sent, and says so until it has', (t) => {
  const [early, late, other] = [placeOn('early', 'a'), placeOn('late', 'a'), placeOn('other', 'b')]
  const streams = new Streams(
    feedsOf(
      new Map([
        [early, [5, 6]],
        [late, [4, 5, 6, 7]],
        [other, [2]],
      ]),
    ),
    READER,
  )
  streams.add(subscriptionOf('early', [early]))
  t.deepEqual(drain(streams), ['a 5 early', 'a 6 early'])
  for (const place of [late, other]) streams.add(subscriptionOf(place.topic, [place]))
  t.deepEqual([late.floor, other.floor], [logPosition(7), logPosition(0)])
  t.deepEqual(drain(streams), ['a 7 late', 'b 2 other'])
  t.is(late.floor, logPosition(0))
})
