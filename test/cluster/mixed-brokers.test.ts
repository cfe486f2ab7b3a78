// A group with native members whose topic two brokers have, and MQTT clients of one of them.
import test from 'ava'
import { connect } from '../../src/client/index.ts'
import { mqttClient } from '../support/mqtt/mqtt.ts'
import { startServer } from '../support/server.ts'

test('an MQTT client of one of two brokers is refused a group with native members', async (t) => {
  const first = await startServer(t)
  const nameServers = [first.address('nameServer')]
  const broker = { name: 'broker-b', nameServers }
  await startServer(t, { role: 'broker', config: { broker } })
  const mq = await connect({ nameServers })
  t.teardown(() => mq.close())
  await mq.admin.topics.create({ name: 'orders', queues: 2 })
  const consumed = mq.subscribe({ group: 'billing', topic: 'orders', from: 'first' })
  const next = consumed[Symbol.asyncIterator]().next()
  await mq.send({ topic: 'orders', body: 'a' })
  t.is(Buffer.from((await next).value!.body).toString(), 'a')
  const client = await mqttClient(t, first.port('mqtt'), 5)
  await t.throwsAsync(client.subscribe('$share/billing/orders/#'))
  // A group of its own.
  await client.subscribe('$share/shipping/orders/#')
  t.pass()
})
