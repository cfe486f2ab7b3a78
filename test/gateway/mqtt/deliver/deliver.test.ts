// What a session reads: of several brokers, by several filters, past what is lost.
import test from 'ava'
import fc from 'fast-check'
import { SharedSlice } from '../../../../src/clock.ts'
import {
  type FeedBatch,
  type LightFeed,
  type LightFeedReader,
  LightFeeds,
  TURN_TOLD_MAX,
} from '../../../../src/gateway/mqtt/deliver/light-feed.ts'
import { Merge } from '../../../../src/gateway/mqtt/deliver/merge.ts'
import { RetainedDue } from '../../../../src/gateway/mqtt/deliver/retained-due.ts'
import type { StreamReader } from '../../../../src/gateway/mqtt/deliver/stream.ts'
import { Streams } from '../../../../src/gateway/mqtt/deliver/streams.ts'
import type { OutgoingMessage } from '../../../../src/gateway/mqtt/outgoing/outgoing-message.ts'
import { Session } from '../../../../src/gateway/mqtt/session/session.ts'
import { SessionSubscriptions } from '../../../../src/gateway/mqtt/session/session-subscriptions.ts'
import type { Place } from '../../../../src/gateway/mqtt/session/subscriptions.ts'
import type { PullRequest, PullResult } from '../../../../src/model/message.ts'
import { logPosition, type QueueOffset, queueOffset } from '../../../../src/model/positions.ts'
import { recordsOf } from '../../../../src/model/record.ts'
import { filterMatches } from '../../../../src/model/topic-filter.ts'
import type { Broker } from '../../../../src/port/broker.ts'
import { newMessage, pullRequest, startBroker } from '../../../support/broker.ts'
import { FakeClock } from '../../../support/fake-clock.ts'
import { mqttClient, persistent, startMqtt } from '../../../support/mqtt/mqtt.ts'
import { placeOn, subscriptionOf } from '../../../support/mqtt/mqtt-places.ts'
import { countTurns } from '../../../support/turns.ts'
import { eventually } from '../../../support/waiting.ts'

// What a session reads from several brokers, whose logs count their positions each for itself.

const READER = {} as StreamReader

/** Queues with these positions, all of them read already. */
function feedsOf(queues: ReadonlyMap<Place, readonly number[]>): LightFeeds {
  const feeds = new Map<Place, LightFeed>()
  for (const [queue, positions] of queues) {
    const deliveries = positions.map(
      (position) =>
        ({ brokerName: queue.brokerName, position: logPosition(position) }) as OutgoingMessage,
    )
    const end = queueOffset(positions.length)
    const batch: FeedBatch = { start: queueOffset(0), deliveries, end, bytes: 0, readAt: 1 }
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
    new SessionSubscriptions(),
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
      const streams = new Streams(feedsOf(places), new SessionSubscriptions(), READER)
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
    new SessionSubscriptions(),
    READER,
  )
  streams.add(subscriptionOf('early', [early]))
  t.deepEqual(drain(streams), ['a 5 early', 'a 6 early'])
  for (const place of [late, other]) streams.add(subscriptionOf(place.topic, [place]))
  t.deepEqual([late.floor, other.floor], [logPosition(7), logPosition(0)])
  t.deepEqual(drain(streams), ['a 7 late', 'b 2 other'])
  t.is(late.floor, logPosition(0))
})

// Overlapping filters as one stream: the order of the log, each message once, whatever the filters
// and however the reads interleave.

const level = fc.constantFrom('a', 'b', 'c')
const topic = fc.array(level, { minLength: 1, maxLength: 3 }).map((levels) => levels.join('/'))
const filter = fc
  .tuple(
    fc.array(fc.constantFrom('a', 'b', 'c', '+'), { minLength: 1, maxLength: 3 }),
    fc.boolean(),
  )
  .map(([levels, rest]) => [...levels, ...(rest ? ['#'] : [])].join('/'))

test('a session sees the log in its order, filtered, without doubles, live and after an absence', async (t) => {
  const { port } = await startMqtt(t)
  let run = 0
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(filter, { minLength: 1, maxLength: 12 }),
      fc.array(topic, { minLength: 20, maxLength: 200 }),
      fc.nat(100),
      async (filters, topics, awayPercent) => {
        const id = `run${run++}`
        const witness = await mqttClient(t, port, 5)
        await witness.subscribe('#', { qos: 0 })
        let reader = await mqttClient(t, port, 5, persistent(id))
        await reader.subscribe([...filters, 'the/end'])
        const publishers = [await mqttClient(t, port, 5), await mqttClient(t, port, 5)]
        const away = Math.floor((topics.length * awayPercent) / 100)
        const send = (from: number, to: number) =>
          Promise.all(
            topics.slice(from, to).map((name, i) => {
              return publishers[i % 2]!.publish(name, `${id} ${from + i}`)
            }),
          )
        await send(0, away)
        const half = reader
        await half.end()
        await send(away, topics.length)
        await witness.messages(topics.length)
        const expected = witness.received
          .filter((message) => filters.some((one) => filterMatches(one, message.topic)))
          .map(({ text }) => text)
        reader = await mqttClient(t, port, 5, persistent(id))
        // It comes behind all that comes again, too.
        await publishers[0]!.publish('the/end', 'the end')
        while (!reader.texts.includes('the end')) {
          await reader.messages(reader.received.length + 1)
        }
        const late = reader.texts.filter((text) => text !== 'the end')
        const seen = [...half.texts, ...late]
        // Messages on their way when the session left come again, marked; no other may come twice.
        const again = new Set(reader.received.filter(({ dup }) => dup).map(({ text }) => text))
        t.deepEqual(
          [...half.texts.filter((text) => !again.has(text)), ...late],
          expected,
          JSON.stringify({ filters, seen }),
        )
        for (const client of [witness, reader, ...publishers]) await client.end()
      },
    ),
    { numRuns: 25 },
  )
})

test('one read that is back does not make the stream look at all others that are under way', (t) => {
  const count = 50
  let looks = 0
  let loads = 0
  const feeds = {
    open: (queue: Place) => ({
      queue,
      movedFrom: () => {
        looks++
        return undefined
      },
      batchAt: () => undefined,
      isEmptySince: () => false,
      load: () => {
        loads++
      },
    }),
  } as unknown as LightFeeds
  const reader = {} as LightFeedReader
  const merge = new Merge(feeds, reader, () => {})
  const opened: LightFeed[] = []
  const { open } = feeds
  feeds.open = (queue, by) => {
    const feed = open.call(feeds, queue, by)
    opened.push(feed)
    return feed
  }
  for (let i = 0; i < count; i++) {
    const place = placeOn(`f${i}`)
    merge.add(subscriptionOf(`f${i}`, [place]), place)
  }
  t.is(merge.next(), 'reading')
  for (const feed of opened) {
    merge.lookAt(feed)
    t.is(merge.next(), 'reading')
  }
  t.is(looks, 2 * count)
  t.is(loads, 2 * count)
})

/** The record at offset 1 is damaged, and left out as the store does it. */
function withoutSecond(result: PullResult): PullResult {
  const kept = [...recordsOf(result.records)]
    .filter((_, i) => i !== 1)
    .map(({ start, size }) => result.records.subarray(start, start + size))
  return { ...result, records: Buffer.concat(kept), count: kept.length }
}

test('a feed leads past a record that damage took, and brings the others', async (t) => {
  const { broker } = await startBroker(t)
  const { topic } = await broker.lightQueues.bind('#', undefined)
  await broker.publish(['a', 'b', 'c'].map((body) => newMessage('T', { queueId: 0, body })))
  const damaged = {
    watch: broker.watch.bind(broker),
    pull: async (request: PullRequest) => withoutSecond(await broker.pull(request)),
  } as unknown as Broker
  const feeds = new LightFeeds(damaged, (error) => t.fail(String(error)))
  const feed = await new Promise<LightFeed>((resolve) => {
    const opened = feeds.open(placeOn(topic), { feedMoved: resolve, feedFailed: () => t.fail() })
    opened.load(queueOffset(0))
  })
  const offset = feed.movedFrom(queueOffset(0)) ?? queueOffset(0)
  const batch = feed.batchAt(offset)
  t.is(batch?.start, offset)
  t.is(batch?.end, queueOffset(3))
  t.is(batch?.deliveries.length, 2)
  t.is((await broker.pull(pullRequest(topic))).count, 3)
})

/** A session with these filters, all of which asked. */
function asking(filters: readonly string[]): Session {
  const session = new Session('c')
  for (const filter of filters) {
    session.subscriptions.set(subscriptionOf(filter, []))
    session.retainedDue.set(filter, '')
  }
  return session
}

test('filters that take long to look through leave the turn to others', (t) => {
  const clock = new FakeClock()
  const seen: string[] = []
  const slow = {
    matching: (filter: string) => {
      seen.push(filter)
      clock.advance(10)
      return { names: [], seenTo: undefined }
    },
  }
  const looks = new SharedSlice(clock)
  t.false(looks.isOver)
  const due = new RetainedDue(slow, looks, asking(['a', 'b']))
  t.is(due.next(9), undefined)
  t.deepEqual(seen, ['a'])
  t.false(due.isEmpty)
  t.is(due.next(9), undefined)
  t.deepEqual(seen, ['a', 'b'])
  t.true(due.isEmpty)
})

test('a look through the names that was long goes on where it ended, in another turn', (t) => {
  const asked: string[] = []
  const retained = {
    matching: (_: string, after: string) => {
      asked.push(after)
      return after === '' ? { names: [], seenTo: 'b/c' } : { names: ['x'], seenTo: undefined }
    },
  }
  const due = new RetainedDue(retained, new SharedSlice(new FakeClock()), asking(['#']))
  t.is(due.next(9), undefined)
  t.false(due.isEmpty)
  t.deepEqual(due.next(9)?.names, ['x'])
  t.deepEqual(asked, ['', 'b/c'])
})

test('names that were asked for anew while they were read are not due', (t) => {
  const retained = { matching: () => ({ names: ['x', 'y'], seenTo: undefined }) }
  const session = asking(['#'])
  const due = new RetainedDue(retained, new SharedSlice(new FakeClock()), session)
  const before = due.next(9)!
  due.add('#')
  t.false(due.advance(before, 2))
  t.true(due.advance(due.next(9)!, 1))
  t.is(session.retainedDue.get('#'), 'x')
})

test('readers of one feed, however many, are told over many turns, and each of the newest', async (t) => {
  const { broker } = await startBroker(t)
  const { topic } = await broker.lightQueues.bind('#', undefined)
  const feeds = new LightFeeds(broker, (error) => t.fail(String(error)))
  const turn = countTurns(t)
  const told = new Map<LightFeedReader, number>()
  const readers = Array.from({ length: 4 * TURN_TOLD_MAX }, (): LightFeedReader => {
    const reader: LightFeedReader = {
      feedMoved: () => void told.set(reader, turn()),
      feedFailed: () => t.fail(),
    }
    return reader
  })
  const opened = readers.map((reader) => feeds.open(placeOn(topic), reader))
  await broker.publish([newMessage('T', { queueId: 0 })])
  await eventually(async () => told.size === readers.length || undefined)
  const perTurn = new Map<number, number>()
  for (const at of told.values()) perTurn.set(at, (perTurn.get(at) ?? 0) + 1)
  t.true(Math.max(...perTurn.values()) <= TURN_TOLD_MAX)
  told.clear()
  feeds.close(opened.at(-1)!, readers.at(-1)!)
  await broker.publish([newMessage('T', { queueId: 0 })])
  await eventually(async () => told.size === readers.length - 1 || undefined)
  t.false(told.has(readers.at(-1)!))
})
