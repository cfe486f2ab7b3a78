import test from 'ava'
import { TopicFollower } from '../../src/aedes/topic-follower.ts'
import { systemClock } from '../../src/clock.ts'
import { MQTT_CATCH_ALL_TOPIC } from '../../src/model/names.ts'
import type { Broker } from '../../src/port/broker.ts'

test('no more topics are followed than may be, and a further one when there is room', async (t) => {
  const watched = new Set<string>()
  const broker = {
    watch: (topic: string) => {
      watched.add(topic)
      return { [Symbol.dispose]: () => void watched.delete(topic) }
    },
    topics: { ranges: async () => [] },
  } as unknown as Broker
  const topics = new Set(['a', 'b', 'c', 'd'])
  const troubles: string[] = []
  const follower = new TopicFollower(() => topics, {
    ...{ broker, clock: systemClock, deliver: async () => {}, skipped: () => {} },
    dropped: () => {},
    troubled: ({ code }) => void troubles.push(code),
    topicsMax: 2,
  })
  await follower.want(['#'])
  t.deepEqual([...watched], [MQTT_CATCH_ALL_TOPIC, 'a'])
  t.deepEqual(troubles, ['QUOTA_EXCEEDED'])
  topics.delete('a')
  follower.topicChanged('a', false)
  t.deepEqual([...watched], [MQTT_CATCH_ALL_TOPIC, 'b'])
  follower.unwant(['#'])
  t.deepEqual([...watched], [])
  t.false(follower.isFollowed(MQTT_CATCH_ALL_TOPIC))
  follower.close()
})
