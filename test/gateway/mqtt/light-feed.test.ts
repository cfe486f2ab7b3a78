import test from 'ava'
import { type LightFeed, LightFeeds } from '../../../src/gateway/mqtt/deliver/light-feed.ts'
import type { PullRequest, PullResult } from '../../../src/model/message.ts'
import { queueOffset } from '../../../src/model/positions.ts'
import { recordsOf } from '../../../src/model/record.ts'
import type { Broker } from '../../../src/port/broker.ts'
import { newMessage, pullRequest, startBroker } from '../../support/broker.ts'
import { placeOn } from '../../support/mqtt-places.ts'

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
