// Overlapping filters as one stream: the order of the log, each message once, whatever the filters
// and however the reads interleave.
import test from 'ava'
import fc from 'fast-check'
import type {
  LightFeed,
  LightFeedReader,
  LightFeeds,
} from '../../../src/gateway/mqtt/deliver/light-feed.ts'
import { Merge } from '../../../src/gateway/mqtt/deliver/merge.ts'
import type { Place } from '../../../src/gateway/mqtt/session/subscriptions.ts'
import { filterMatches } from '../../../src/model/topic-filter.ts'
import { mqttClient, persistent, startMqtt } from '../../support/mqtt.ts'
import { placeOn, subscriptionOf } from '../../support/mqtt-places.ts'

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
        await reader.subscribe(filters)
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
        const all = () => [...half.texts, ...reader.texts]
        while (new Set(all()).size < expected.length) {
          await reader.messages(reader.received.length + 1)
        }
        const seen = all()
        // Messages on their way when the session left come again, marked; no other may come twice.
        const again = new Set(reader.received.filter(({ dup }) => dup).map(({ text }) => text))
        t.deepEqual(
          [...half.texts.filter((text) => !again.has(text)), ...reader.texts],
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
  const merge = new Merge(feeds, reader)
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
