// What the front-ends of one server count.
import test from 'ava'
import { connect } from '../../src/client/index.ts'
import { connectRhea } from '../support/amqp/rhea-client.ts'
import { mqttClient, persistent } from '../support/mqtt/mqtt.ts'
import { numberOf } from '../support/numbers.ts'
import { startServer } from '../support/server.ts'

test('messages in and out, their bytes and times are counted for each protocol', async (t) => {
  const { server, address, port } = await startServer(t)
  const of = (name: string, protocol: string): Promise<number> =>
    numberOf(server.numbers, `${name}{protocol_type="${protocol}"}`)
  const mq = await connect({ nameServers: address('nameServer') })
  t.teardown(() => mq.close())
  await mq.admin.topics.create({ name: 'orders', queues: 1 })
  const watcher = await mqttClient(t, port('mqtt'), 5)
  await watcher.subscribe('orders/#', { qos: 1 })
  await mq.send({ topic: 'orders', body: 'native' })
  await watcher.publish('orders/eu', 'mqtt', { qos: 1 })
  const amqp = await connectRhea(t, port('amqp'))
  const sender = await amqp.sender('orders')
  await sender.send({ body: 'amqp' })
  await watcher.messages(3)
  const receiver = await amqp.receiver('orders::billing')
  await receiver.accept(3)
  for await (const delivery of mq.subscribe({ group: 'h', topic: 'orders', from: 'first' })) {
    await delivery.ack()
    break
  }
  for (const protocol of ['remoting', 'mqtt', 'amqp']) {
    t.is(await of('trivet_messages_in_total', protocol), 1, protocol)
    t.is(await of('trivet_messages_out_total', protocol), 3, protocol)
    t.true((await of('trivet_bytes_in_total', protocol)) >= 4, protocol)
    t.true((await of('trivet_bytes_out_total', protocol)) >= 12, protocol)
    t.is(await of('trivet_publish_seconds_count', protocol), 1, protocol)
    t.is(await of('trivet_deliver_seconds_count', protocol), 3, protocol)
    t.true((await of('trivet_publish_seconds_sum', protocol)) > 0, protocol)
  }
})

test('connections are counted by listener, and two servers of a process count apart', async (t) => {
  const { server, port } = await startServer(t)
  const other = await startServer(t)
  await mqttClient(t, port('mqtt'), 5)
  const begin = `trivet_connections{protocol_type="mqtt",listener="127.0.0.1:${port('mqtt')}"}`
  t.is(await numberOf(server.numbers, begin), 1)
  t.is(await numberOf(other.server.numbers, 'trivet_connections{protocol_type="mqtt"'), 0)
})

test('a message that is refused counts by its reason, and a connection by its limit', async (t) => {
  const { server, port } = await startServer(t, {
    config: { mqtt: { connectionsPerAddressMax: 1 } },
  })
  const client = await mqttClient(t, port('mqtt'), 5)
  await t.throwsAsync(client.publish('$SYS/own', 'x', { qos: 1 }))
  const refused = 'trivet_messages_refused_total{protocol_type="mqtt"'
  t.is(await numberOf(server.numbers, refused), 1)
  await t.throwsAsync(mqttClient(t, port('mqtt'), 5, { connectTimeout: 500 }))
  const turnedAway =
    'trivet_connections_refused_total{protocol_type="mqtt",reason="connectionsPerAddressMax"}'
  t.true((await numberOf(server.numbers, turnedAway)) > 0)
})

test('the backlog of MQTT sessions is what they have still to be sent', async (t) => {
  const { server, port } = await startServer(t)
  const of = (name: string): Promise<number> => numberOf(server.numbers, name)
  const away = await mqttClient(t, port('mqtt'), 5, persistent('away'))
  await away.subscribe('news/#', { qos: 1 })
  await away.end()
  const publisher = await mqttClient(t, port('mqtt'), 5)
  for (let i = 0; i < 3; i++) await publisher.publish('news/eu', 'x', { qos: 1 })
  await publisher.publish('kept', 'x', { qos: 1, retain: true })
  t.is(await of('trivet_mqtt_backlog_messages'), 3)
  t.is(await of('trivet_mqtt_session_lag_messages{client_id="away"}'), 3)
  t.is(await of('trivet_mqtt_sessions{state="away"}'), 1)
  t.is(await of('trivet_mqtt_sessions{state="connected"}'), 1)
  t.is(await of('trivet_mqtt_subscriptions'), 1)
  t.is(await of('trivet_mqtt_retained_messages'), 1)
  const back = await mqttClient(t, port('mqtt'), 5, { ...persistent('away'), clean: false })
  await back.messages(3)
  t.is(await of('trivet_mqtt_backlog_messages'), 0)
})
