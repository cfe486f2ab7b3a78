// Publishing and subscribing with unmodified mqtt.js, in both versions.
import test from 'ava'
import { BODY_BYTES_DEFAULT } from '../../../../src/model/limits.ts'
import { mqttClient, VERSIONS } from '../../../support/mqtt/mqtt.ts'
import { startMqttOver, WAYS } from '../../../support/mqtt/mqtt-over-broker.ts'

const numbered = (count: number): string[] => Array.from({ length: count }, (_, i) => `m${i}`)

for (const [way, bend] of WAYS) {
  for (const version of VERSIONS) {
    for (const qos of [0, 1, 2] as const) {
      test(`version ${version}, ${way}: QoS ${qos} goes from a publisher to a subscriber`, async (t) => {
        const { port } = await startMqttOver(t, { bend })
        const subscriber = await mqttClient(t, port, version)
        const publisher = await mqttClient(t, port, version)
        const granted = await subscriber.subscribe('rooms/+/temperature', { qos })
        t.is(granted[0]!.qos, qos)
        await publisher.publish('rooms/kitchen/temperature', '21', { qos })
        const [message] = await subscriber.messages(1)
        t.is(message!.topic, 'rooms/kitchen/temperature')
        t.is(message!.text, '21')
        t.is(message!.qos, qos)
        t.false(message!.retain)
        t.false(message!.dup)
      })
    }

    test(`version ${version}, ${way}: a message is delivered at the lower of both QoS`, async (t) => {
      const { port } = await startMqttOver(t, { bend })
      const client = await mqttClient(t, port, version)
      await client.subscribe('at-0', { qos: 0 })
      await client.subscribe('at-2', { qos: 2 })
      await client.publish('at-0', 'down', { qos: 2 })
      await client.publish('at-2', 'as published', { qos: 1 })
      const messages = await client.messages(2)
      t.deepEqual(
        messages.map(({ topic, qos }) => [topic, qos]),
        [
          ['at-0', 0],
          ['at-2', 1],
        ],
      )
    })

    test(`version ${version}, ${way}: wildcards select as the standard says`, async (t) => {
      const { port } = await startMqttOver(t, { bend })
      const publisher = await mqttClient(t, port, version)
      const filters = ['#', '+', '+/+', 'a/#', 'a/+/c', '/+', 'a', '$hidden/#', '+/x']
      const subscribers = await Promise.all(
        filters.map(async (filter) => {
          const subscriber = await mqttClient(t, port, version)
          await subscriber.subscribe([filter, 'end'])
          return subscriber
        }),
      )
      const topics = ['a', 'a/b', 'a/b/c', '/a', 'a/', '$hidden/x']
      for (const topic of [...topics, 'end']) await publisher.publish(topic, topic)
      const expected: Record<string, string[]> = {
        '#': ['a', 'a/b', 'a/b/c', '/a', 'a/'],
        '+': ['a'],
        '+/+': ['a/b', '/a', 'a/'],
        'a/#': ['a', 'a/b', 'a/b/c', 'a/'],
        'a/+/c': ['a/b/c'],
        '/+': ['/a'],
        a: ['a'],
        '$hidden/#': ['$hidden/x'],
        '+/x': [],
      }
      for (const [i, filter] of filters.entries()) {
        const wanted = expected[filter]!
        await subscribers[i]!.messages(wanted.length + 1)
        t.deepEqual(subscribers[i]!.texts.slice(0, -1), wanted, filter)
        t.is(subscribers[i]!.texts.at(-1), 'end')
      }
    })

    test(`version ${version}, ${way}: overlapping filters bring one copy at the highest QoS`, async (t) => {
      const { port } = await startMqttOver(t, { bend })
      const client = await mqttClient(t, port, version)
      await client.subscribe('over/#', { qos: 0 })
      await client.subscribe('over/lap', { qos: 2 })
      await client.subscribe('+/lap', { qos: 1 })
      for (let i = 0; i < 50; i++) await client.publish('over/lap', `${i}`, { qos: 2 })
      await client.publish('over/end', 'end')
      const messages = await client.messages(51)
      t.deepEqual(client.texts, [...Array.from({ length: 50 }, (_, i) => `${i}`), 'end'])
      t.true(messages.slice(0, 50).every(({ qos }) => qos === 2))
    })

    test(`version ${version}, ${way}: 1,000 messages of two publishers keep each publisher's order`, async (t) => {
      const { port } = await startMqttOver(t, { bend })
      const subscriber = await mqttClient(t, port, version)
      await subscriber.subscribe(['order/#', '+/a'])
      const [a, b] = [await mqttClient(t, port, version), await mqttClient(t, port, version)]
      const texts = numbered(500)
      await Promise.all(
        texts.flatMap((text) => [
          a.publish('order/a', `a ${text}`),
          b.publish('order/b', `b ${text}`),
        ]),
      )
      await subscriber.messages(1000)
      const of = (name: string) => subscriber.texts.filter((text) => text.startsWith(name))
      t.is(subscriber.received.length, 1000)
      t.deepEqual(
        of('a'),
        texts.map((text) => `a ${text}`),
      )
      t.deepEqual(
        of('b'),
        texts.map((text) => `b ${text}`),
      )
    })

    test(`version ${version}, ${way}: the largest payload and an empty one arrive as they were`, async (t) => {
      const { port } = await startMqttOver(t, { bend })
      const client = await mqttClient(t, port, version)
      await client.subscribe('big')
      const large = Buffer.alloc(BODY_BYTES_DEFAULT)
      for (let i = 0; i < large.length; i += 997) large[i] = i
      await client.publish('big', large)
      await client.publish('big', '')
      const [first, second] = await client.messages(2)
      t.true(first!.payload.equals(large))
      t.is(second!.payload.length, 0)
    })

    test(`version ${version}, ${way}: after UNSUBSCRIBE nothing more comes`, async (t) => {
      const { port } = await startMqttOver(t, { bend })
      const client = await mqttClient(t, port, version)
      await client.subscribe(['gone', 'stays'])
      await client.publish('gone', '1')
      await client.messages(1)
      await client.client.unsubscribeAsync('gone')
      await client.publish('gone', '2')
      await client.publish('stays', '3')
      await client.messages(2)
      t.deepEqual(client.texts, ['1', '3'])
    })

    test(`version ${version}, ${way}: a subscription starts with what comes after it`, async (t) => {
      const { port } = await startMqttOver(t, { bend })
      const client = await mqttClient(t, port, version)
      await client.publish('late', 'before')
      await client.subscribe('late')
      await client.publish('late', 'after')
      await client.messages(1)
      t.deepEqual(client.texts, ['after'])
    })
  }
}

test('a message with topic names of every script keeps its topic byte for byte', async (t) => {
  const { port } = await startMqttOver(t)
  const client = await mqttClient(t, port, 5)
  await client.subscribe('#')
  const topics = ['/', 'a//b', ' a ', 'größe/温度/🌡', '/a', 'a/', 'A']
  for (const topic of topics) await client.publish(topic, topic)
  const messages = await client.messages(topics.length)
  t.deepEqual(
    messages.map(({ topic }) => topic),
    topics,
  )
  t.deepEqual(client.texts, topics)
})
