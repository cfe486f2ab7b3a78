// Transactions by MQTT 5, with unmodified mqtt.js clients.
import test, { type ExecutionContext } from 'ava'
import { cheapHash } from '../../../support/cheap-password.ts'
import { mqttClient, startMqtt, type TestClient } from '../../../support/mqtt/mqtt.ts'
import { startMqttOver } from '../../../support/mqtt/mqtt-over-broker.ts'
import { overridden } from '../../../support/overridden.ts'
import { latch } from '../../../support/waiting.ts'

const CHECKS = { transactionTimeoutMs: 1000, transactionCheckIntervalMs: 1000 }

async function producer(t: ExecutionContext, port: number, id = 'shop-1'): Promise<TestClient> {
  const client = await mqttClient(t, port, 5, { clientId: id })
  await client.client.subscribeAsync(`answers/${id}`, { qos: 1 })
  return client
}

/** @returns the name of the transaction */
async function prepare(client: TestClient, topic: string, body: string): Promise<string> {
  const { clientId } = client.client.options
  const count = client.received.length
  await client.publish(`$trivet/tx/shop/prepare/${topic}`, body, {
    properties: {
      responseTopic: `answers/${clientId}`,
      correlationData: Buffer.from(body),
      userProperties: { source: 'web' },
    },
  })
  const answer = (await client.messages(count + 1))[count]!
  if (String(answer.properties['correlationData']) !== body) throw new Error('not its answer')
  return answer.text
}

const end = (client: TestClient, outcome: string, name: string) =>
  client.publish(`$trivet/tx/shop/${outcome}`, name)

test('what is committed is delivered once, what is rolled back never', async (t) => {
  const { port } = await startMqtt(t)
  const consumer = await mqttClient(t, port, 5)
  await consumer.client.subscribeAsync('orders/#', { qos: 1 })
  const client = await producer(t, port)
  const first = await prepare(client, 'orders/eu', 'committed')
  const second = await prepare(client, 'orders/eu', 'rolled back')
  await client.publish('orders/eu', 'plain')
  t.deepEqual(
    (await consumer.messages(1)).map(({ text }) => text),
    ['plain'],
  )
  await end(client, 'rollback', second)
  await end(client, 'commit', first)
  await end(client, 'commit', first)
  await t.throwsAsync(end(client, 'commit', second))
  await client.publish('orders/eu', 'last')
  t.deepEqual(
    (await consumer.messages(3)).map(({ text }) => text),
    ['plain', 'committed', 'last'],
  )
  const { properties } = consumer.received[1]!
  t.deepEqual({ ...(properties['userProperties'] as object) }, { source: 'web' })
  t.is(properties['responseTopic'], undefined)
})

test('the answer has the correlation data as sent, whatever other clients send until it is stored', async (t) => {
  const noise = latch(1)
  const { port } = await startMqttOver(t, {
    bend: (broker) =>
      overridden(broker, {
        publish: async (messages, changes) => {
          const isHalf = messages[0]!.body.toString() === 'mine'
          const results = await broker.publish(messages, changes)
          if (isHalf) await noise.reached
          return results
        },
      }),
  })
  const other = await mqttClient(t, port, 5)
  const client = await producer(t, port)
  const prepared = prepare(client, 'orders/eu', 'mine')
  await other.publish('noise', 'z'.repeat(4096))
  noise.count()
  await t.notThrowsAsync(prepared)
})

test('an open transaction is asked about on its response topic', async (t) => {
  const { port } = await startMqtt(t, { config: { broker: CHECKS } })
  const client = await producer(t, port)
  const name = await prepare(client, 'orders/eu', 'open')
  const check = (await client.messages(2))[1]!
  t.is(check.text, name)
  t.is(String(check.properties['correlationData']), 'open')
  t.deepEqual({ ...(check.properties['userProperties'] as object) }, { check: '1' })
  const consumer = await mqttClient(t, port, 5)
  await consumer.client.subscribeAsync('orders/#', { qos: 1 })
  await end(client, 'commit', check.text)
  t.deepEqual(
    (await consumer.messages(1)).map(({ text }) => text),
    ['open'],
  )
})

test('a client may use topic aliases for its requests', async (t) => {
  const { port } = await startMqtt(t)
  const consumer = await mqttClient(t, port, 5)
  await consumer.client.subscribeAsync('orders/#', { qos: 1 })
  const shape = { clientId: 'shop-1', autoAssignTopicAlias: true }
  const client = await mqttClient(t, port, 5, shape)
  await client.client.subscribeAsync('answers/shop-1', { qos: 1 })
  for (const body of ['one', 'two']) {
    await end(client, 'commit', await prepare(client, 'orders/eu', body))
  }
  t.deepEqual(
    (await consumer.messages(2)).map(({ text }) => text),
    ['one', 'two'],
  )
})

for (const [what, topic, body, properties] of [
  ['without a response topic', 'shop/prepare/orders/eu', 'x', {}],
  ['for no topic', 'shop/prepare', 'x', { responseTopic: 'a' }],
  ['of no group', '/commit', 'x', {}],
  ['with an unknown verb', 'shop/forget', 'x', {}],
  ['with a payload that is no name', 'shop/commit', 'x', {}],
  ['with the name of nothing', 'shop/commit', 'broker-a 7 0', {}],
] as const) {
  test(`a request ${what} is refused, and the connection stays`, async (t) => {
    const { port } = await startMqtt(t)
    const client = await producer(t, port)
    await t.throwsAsync(client.publish(`$trivet/tx/${topic}`, body, { properties }))
    await client.publish('answers/shop-1', 'still here')
    t.deepEqual(
      (await client.messages(1)).map(({ text }) => text),
      ['still here'],
    )
  })
}

test('a transaction needs the right to its topic, to the response topic, and to end it', async (t) => {
  const none = { admin: false, publish: [], consume: [], create: [] }
  const users = {
    sensor: { ...none, publish: ['MQTT', 'open'], consume: ['MQTT'], password: cheapHash('s') },
    other: { ...none, publish: ['MQTT'], password: cheapHash('o') },
  }
  const { port, broker } = await startMqttOver(t, { users })
  for (const topic of ['open', 'secret']) await broker.topics.ensure(topic)
  const sensor = await mqttClient(t, port, 5, { username: 'sensor', password: 's' })
  const request = (topic: string, responseTopic: string) =>
    sensor.publish(`$trivet/tx/shop/prepare/${topic}`, 'x', { properties: { responseTopic } })
  for (const [topic, response] of [
    ['secret', 'answers'],
    ['open', 'secret'],
  ] as const) {
    const refused = await t.throwsAsync(request(topic, response))
    t.is((refused as { code?: number }).code, 0x87)
  }
  await sensor.client.subscribeAsync('answers', { qos: 1 })
  await request('open', 'answers')
  const { text } = (await sensor.messages(1))[0]!
  const other = await mqttClient(t, port, 5, { username: 'other', password: 'o' })
  const denied = await t.throwsAsync(end(other, 'commit', text))
  t.is((denied as { code?: number }).code, 0x87)
  await end(sensor, 'commit', text)
})
