import test from 'ava'
import fc from 'fast-check'
import {
  LightFeeds,
  READ_RECORDS,
  TURN_RECORDS_MAX,
} from '../../../../src/gateway/mqtt/deliver/light-feed.ts'
import { FAN_OUT_MAX, FanOut } from '../../../../src/gateway/mqtt/publish/fan-out.ts'
import { TopicTree } from '../../../../src/gateway/mqtt/publish/topic-tree.ts'
import { FilterCounts } from '../../../../src/gateway/mqtt/session/filter-counts.ts'
import { filterMatches } from '../../../../src/model/topic-filter.ts'
import type { Broker } from '../../../../src/port/broker.ts'
import { startMqttOver } from '../../../support/mqtt/mqtt-over-broker.ts'
import { connect, publish, subscribe } from '../../../support/mqtt/mqtt-packets.ts'
import { overridden } from '../../../support/overridden.ts'
import { RawPeer } from '../../../support/peers/raw-peer.ts'

const name = fc
  .array(fc.constantFrom('a', 'b', '$c', ''), { minLength: 1, maxLength: 4 })
  .map((levels) => levels.join('/'))
  .filter((topic) => topic !== '')
const filter = fc
  .tuple(
    fc.array(fc.constantFrom('a', 'b', '$c', '', '+'), { minLength: 1, maxLength: 4 }),
    fc.boolean(),
  )
  .map(([levels, rest]) => [...levels, ...(rest ? ['#'] : [])].join('/'))
  .filter((text) => text !== '')

/**
 * In the order of their levels, which is not that of the characters: '/' comes before all of them.
 */
const inOrder = (names: Iterable<string>): string[] =>
  [...names]
    .map((one) => one.split('/'))
    .sort((a, b) => {
      const at = a.findIndex((level, i) => level !== b[i])
      if (at === -1) return a.length - b.length
      return at < b.length && a[at]! < b[at]! ? -1 : 1
    })
    .map((levels) => levels.join('/'))

test('a tree of names and a filter agree with the filter alone, also after names went, and a few levels at a time', (t) => {
  const some = fc.integer({ min: 1, max: 5 })
  fc.assert(
    fc.property(
      fc.array(name),
      fc.array(fc.nat()),
      filter,
      some,
      some,
      (names, gone, text, max, levelsMax) => {
        const tree = new TopicTree()
        const kept = new Set(names)
        for (const one of names) tree.add(one)
        for (const i of gone) {
          const one = names[i % Math.max(1, names.length)]
          if (one === undefined) continue
          tree.delete(one)
          kept.delete(one)
        }
        tree.delete('never/there')
        const expected = inOrder([...kept].filter((one) => filterMatches(text, one)))
        t.deepEqual(tree.match(text, undefined, Number.POSITIVE_INFINITY).names, expected, text)
        const found: string[] = []
        for (let after: string | undefined; ; ) {
          const { names: more, seenTo } = tree.match(text, after, max, levelsMax)
          if (more.length === 0 && seenTo === undefined) break
          t.true(more.length <= Math.min(max, levelsMax))
          found.push(...more)
          after = more.at(-1) ?? seenTo
        }
        t.deepEqual(found, expected, `${text}, ${max} at a time`)
      },
    ),
    { numRuns: 1_000 },
  )
})

test('a look through the names passes by so many levels at a time', (t) => {
  const tree = new TopicTree()
  for (let i = 0; i < 10; i++) tree.add(`a/${i}/b`)
  t.deepEqual(tree.match('+/+/c', undefined, 1, 5), { names: [], seenTo: 'a/3' })
  t.deepEqual(tree.match('+/+/c', 'a/3', 1, 50), { names: [], seenTo: undefined })
})

test('names are gone on with behind one that went, and with those that came', (t) => {
  const tree = new TopicTree()
  for (const one of ['a', 'a/b', 'a/b/c', 'a/d', 'a!', 'b']) tree.add(one)
  tree.delete('a/b')
  tree.add('a/b/d')
  t.deepEqual(tree.match('#', 'a/b', 9).names, ['a/b/c', 'a/b/d', 'a/d', 'a!', 'b'])
  t.deepEqual(tree.match('a/+', 'a/b', 9).names, ['a/d'])
  t.deepEqual(tree.match('a/#', 'a/c', 9).names, ['a/d'])
  t.deepEqual(tree.match('a/b/c', 'a/b/c', 9).names, [])
})

test('a filter counts as long as a session has it', (t) => {
  const counts = new FilterCounts()
  counts.add('a/+')
  counts.add('a/+')
  const two = counts.generation
  counts.remove('a/+')
  t.is(counts.generation, two, 'the set of filters is the same')
  t.is(counts.matching('a/x'), 1)
  counts.remove('a/+')
  counts.remove('a/+')
  t.is(counts.matching('a/x'), 0)
  t.not(counts.generation, two)
})

// Messages that very many filters select: a few of them at a time, however many came at once.

test('messages that few filters select are not held back', (t) => {
  const fanOut = new FanOut()
  fanOut.add(FAN_OUT_MAX)
  t.false(fanOut.isCrowded(fanOut.weight(8)))
  t.true(fanOut.isCrowded(fanOut.weight(9)))
})

test('a message of any weight is taken when nothing else is under way', (t) => {
  const fanOut = new FanOut()
  t.false(fanOut.isCrowded(fanOut.weight(10 * FAN_OUT_MAX)))
})

test('messages that wait go ahead of later ones, in turn, as far as there is room', (t) => {
  const fanOut = new FanOut()
  fanOut.add(FAN_OUT_MAX)
  const went: number[] = []
  for (const i of [1, 2, 3]) {
    fanOut.wait(() => {
      went.push(i)
      fanOut.add(FAN_OUT_MAX / 2)
    })
  }
  t.true(fanOut.isCrowded(10))
  fanOut.remove(FAN_OUT_MAX)
  t.deepEqual(went, [1, 2])
  fanOut.remove(FAN_OUT_MAX / 2)
  t.deepEqual(went, [1, 2, 3])
})

/** As many as are allowed to a session: every mix of names and wildcards over ten levels. */
const FILTERS = Array.from({ length: 1_000 }, (_, i) =>
  Array.from({ length: 10 }, (_, level) => (i & (1 << level) ? '+' : 'c')).join('/'),
)
const NAME = Array(10).fill('c').join('/')
const COUNT = 40

test('a burst that a thousand filters select is published in parts, acknowledged and delivered in order', async (t) => {
  const parts: number[] = []
  const { port } = await startMqttOver(t, {
    bend: (broker: Broker) =>
      overridden(broker, {
        publish: (messages, ...rest) => {
          parts.push(messages.length)
          return broker.publish(messages, ...rest)
        },
      }),
  })
  const subscriber = await RawPeer.connect(port)
  subscriber.send(
    connect('subscriber'),
    subscribe(
      1,
      FILTERS.map((filter) => [filter, 0]),
    ),
  )
  await subscriber.readPacket()
  await subscriber.readPacket()
  const publisher = await RawPeer.connect(port)
  const ids = Array.from({ length: COUNT }, (_, i) => i + 1)
  publisher.send(connect('publisher'), ...ids.map((id) => publish(NAME, `${id}`, { qos: 1, id })))
  await publisher.readPacket()
  for (const id of ids) t.deepEqual([...(await publisher.readPacket()).body], [0, id])
  for (const id of ids) {
    const { body } = await subscriber.readPacket()
    t.is(body.subarray(2 + NAME.length).toString(), `${id}`)
  }
  t.true(Math.max(...parts) <= FAN_OUT_MAX / FILTERS.length, `${parts}`)
  subscriber.end()
  publisher.end()
})

test('a read counts in its turn whatever it brings', async (t) => {
  const feeds = new LightFeeds({} as Broker, () => {})
  let reads = 0
  for (let i = 0; i < 1_000; i++) feeds.inTurn(1, () => reads++)
  t.is(reads, Math.ceil(TURN_RECORDS_MAX / (1 + READ_RECORDS)))
})

test('no turn reads more than its share of records for all feeds, and the rest is read in order', async (t) => {
  const feeds = new LightFeeds({} as Broker, () => {})
  const reads: number[] = []
  for (let i = 0; i < 5; i++) feeds.inTurn(TURN_RECORDS_MAX / 2, () => reads.push(i))
  t.deepEqual(reads, [0, 1])
  await new Promise((resolve) => setImmediate(resolve))
  t.deepEqual(reads, [0, 1, 2, 3])
  await new Promise((resolve) => setImmediate(resolve))
  t.deepEqual(reads, [0, 1, 2, 3, 4])
})
