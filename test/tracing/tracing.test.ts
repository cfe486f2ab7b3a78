// Traces of messages across protocols, sent to a real receiver of OTLP.
import test from 'ava'
import { connect } from '../../src/client/index.ts'
import { connectRhea } from '../support/amqp/rhea-client.ts'
import { mqttClient } from '../support/mqtt/mqtt.ts'
import { otlpReceiver } from '../support/peers/otlp-receiver.ts'
import { startServer } from '../support/server.ts'

const TRACE = '0af7651916cd43dd8448eb211c80319c'
const PRODUCER = 'b7ad6b7169203331'
const SAMPLED = `00-${TRACE}-${PRODUCER}-01`
const STATE = 'vendor=opaque'

test('a message over MQTT is traced to an AMQP consumer, and its context is unchanged', async (t) => {
  const receiver = await otlpReceiver(t)
  const tracing = { endpoint: receiver.endpoint, serviceName: 'till' }
  const { port } = await startServer(t, { config: { tracing } })
  const amqp = await connectRhea(t, port('amqp'))
  const link = await amqp.receiver('orders::billing')
  const mqtt = await mqttClient(t, port('mqtt'), 5)
  const userProperties = { traceparent: SAMPLED, tracestate: STATE }
  await mqtt.publish('orders', 'one', { qos: 1, properties: { userProperties } })
  const [message] = await link.accept(1)
  t.like(message?.application_properties, userProperties)
  const published = await receiver.span('publish orders')
  t.like(published, { traceId: TRACE, parentSpanId: PRODUCER, traceState: STATE, kind: 2 })
  t.like(published.attributes, {
    'messaging.system': 'rocketmq',
    'messaging.operation.name': 'publish',
    'messaging.operation.type': 'send',
    'messaging.destination.name': 'orders',
    'messaging.message.body.size': 3,
    'network.protocol.name': 'mqtt',
    'trivetmq.queue.offset': 0,
  })
  t.is(published.resource['service.name'], 'till')
  const delivered = await receiver.span('deliver orders')
  t.like(delivered, { traceId: TRACE, parentSpanId: PRODUCER, status: 0 })
  t.like(delivered.attributes, {
    'messaging.consumer.group.name': 'billing',
    'network.protocol.name': 'amqp',
    'trivetmq.delivery.attempt': 1,
  })
  const settled = await receiver.span('settle')
  t.like(settled, { traceId: TRACE, parentSpanId: delivered.spanId, status: 0 })
  t.like(settled.attributes, {
    'messaging.operation.name': 'ack',
    'messaging.operation.type': 'settle',
  })
})

test('messages of AMQP and of native clients are traced to consumers of the others', async (t) => {
  const receiver = await otlpReceiver(t)
  const config = { tracing: { endpoint: receiver.endpoint } }
  const { port, address } = await startServer(t, { config })
  const mqtt = await mqttClient(t, port('mqtt'), 5, { clientId: 'sensor' })
  await mqtt.subscribe('orders', { qos: 1 })
  const amqp = await connectRhea(t, port('amqp'))
  const sender = await amqp.sender('orders')
  const ofAmqp = `00-${'a'.repeat(32)}-${'1'.repeat(16)}-01`
  await sender.send({ body: 'two', application_properties: { traceparent: ofAmqp } })
  const mq = await connect({ nameServers: address('nameServer') })
  t.teardown(() => mq.close())
  const ofNative = `00-${'b'.repeat(32)}-${'2'.repeat(16)}-01`
  await mq.send({ topic: 'orders', body: 'three', properties: { traceparent: ofNative } })
  for (const [trace, protocol] of [
    ['a', 'amqp'],
    ['b', 'rocketmq'],
  ] as const) {
    const traceId = trace.repeat(32)
    const published = await receiver.span('publish orders', (span) => span.traceId === traceId)
    t.is(published.attributes['network.protocol.name'], protocol)
    const delivered = await receiver.span('deliver orders', (span) => span.traceId === traceId)
    t.is(delivered.attributes['network.protocol.name'], 'mqtt')
  }
  for (const [at, { properties }] of (await mqtt.messages(2)).entries()) {
    t.like(properties['userProperties'], { traceparent: [ofAmqp, ofNative][at] })
  }
  const found: unknown[] = []
  for await (const delivery of mq.subscribe({ group: 'audit', topic: 'orders', from: 'first' })) {
    found.push(delivery.properties.get('traceparent'))
    await delivery.ack()
    if (found.length === 2) break
  }
  t.deepEqual(found.toSorted(), [ofAmqp, ofNative])
  const native = await receiver.span('deliver orders', ({ attributes }) => {
    return attributes['network.protocol.name'] === 'rocketmq'
  })
  t.is(native.attributes['messaging.consumer.group.name'], 'audit')
})

test('a gateway before a cluster traces what goes through it', async (t) => {
  const receiver = await otlpReceiver(t)
  const off = { mqtt: { enabled: false }, amqp: { enabled: false } }
  const broker = await startServer(t, { config: off })
  const cluster = { nameServers: [broker.address('nameServer')] }
  const tracing = { endpoint: receiver.endpoint }
  const { port } = await startServer(t, { role: 'gateway', config: { cluster, tracing } })
  const amqp = await connectRhea(t, port('amqp'))
  const sender = await amqp.sender('orders')
  await sender.send({ body: 'x', application_properties: { traceparent: SAMPLED } })
  const link = await amqp.receiver('orders::billing')
  await link.accept(1)
  const published = await receiver.span('publish orders')
  t.like(published, { traceId: TRACE, parentSpanId: PRODUCER })
  t.is(published.attributes['trivetmq.broker.name'], 'broker-a')
  const delivered = await receiver.span('deliver orders')
  t.like(await receiver.span('settle'), { parentSpanId: delivered.spanId, status: 0 })
})

test('what is not sampled, or is no context, makes no span', async (t) => {
  const receiver = await otlpReceiver(t)
  const config = { tracing: { endpoint: receiver.endpoint } }
  const { port } = await startServer(t, { config })
  const amqp = await connectRhea(t, port('amqp'))
  const sender = await amqp.sender('orders')
  for (const traceparent of [
    `00-${TRACE}-${PRODUCER}-00`,
    `00-${'0'.repeat(32)}-${PRODUCER}-01`,
    `ff-${TRACE}-${PRODUCER}-01`,
    `${SAMPLED}-more`,
    'none',
  ]) {
    await sender.send({ body: 'x', application_properties: { traceparent } })
  }
  await sender.send({ body: 'x' })
  await sender.send({ body: 'x', application_properties: { traceparent: SAMPLED } })
  const link = await amqp.receiver('orders::billing')
  await link.accept(7)
  await receiver.span('settle')
  t.deepEqual(receiver.spans.map(({ name }) => name).toSorted(), [
    'deliver orders',
    'publish orders',
    'settle',
  ])
})

test('a message without a context begins a trace where it is chosen, and takes it along', async (t) => {
  const receiver = await otlpReceiver(t)
  const config = { tracing: { endpoint: receiver.endpoint, ratio: 1 } }
  const { port, address } = await startServer(t, { config })
  const mq = await connect({ nameServers: address('nameServer') })
  t.teardown(() => mq.close())
  await mq.send({ topic: 'orders', body: 'x', properties: { colour: 'red' } })
  const amqp = await connectRhea(t, port('amqp'))
  const link = await amqp.receiver('orders::billing')
  const [message] = await link.accept(1)
  const { spanId, traceId, parentSpanId } = await receiver.span('publish orders')
  t.is(parentSpanId, undefined)
  t.like(message?.application_properties, {
    colour: 'red',
    traceparent: `00-${traceId}-${spanId}-01`,
  })
  t.like(await receiver.span('deliver orders'), { traceId, parentSpanId: spanId })
})

test('beyond the most of a second spans are left out, and messages go on', async (t) => {
  const receiver = await otlpReceiver(t)
  const config = { tracing: { endpoint: receiver.endpoint, ratio: 1, spansPerSecondMax: 1 } }
  const { port, server } = await startServer(t, { config })
  const amqp = await connectRhea(t, port('amqp'))
  const sender = await amqp.sender('orders')
  const outcomes = await Promise.all(Array.from({ length: 50 }, () => sender.send({ body: 'x' })))
  t.true(outcomes.every(({ kind }) => kind === 'accepted'))
  await receiver.span('publish orders')
  const readings = await server.numbers.read()
  const leftOut = readings.find(
    ({ declared }) => declared.name === 'trivet_trace_spans_left_out_total',
  )
  t.true((leftOut?.value as number) >= 1)
})

test('a receiver that takes nothing costs the spans, and no message', async (t) => {
  const receiver = await otlpReceiver(t)
  receiver.answer(400)
  const config = { tracing: { endpoint: receiver.endpoint } }
  const { port, server } = await startServer(t, { config })
  const amqp = await connectRhea(t, port('amqp'))
  const sender = await amqp.sender('orders')
  const message = { body: 'x', application_properties: { traceparent: SAMPLED } }
  t.is((await sender.send(message)).kind, 'accepted')
  await server.close()
  const lost = (await server.numbers.read()).find(
    ({ declared }) => declared.name === 'trivet_trace_spans_lost_total',
  )
  t.is(lost?.value, 1)
  t.deepEqual(receiver.spans, [])
})

test('a stop sends what waits', async (t) => {
  const receiver = await otlpReceiver(t)
  const config = { tracing: { endpoint: receiver.endpoint } }
  const { port, server } = await startServer(t, { config })
  const amqp = await connectRhea(t, port('amqp'))
  const sender = await amqp.sender('orders')
  await sender.send({ body: 'x', application_properties: { traceparent: SAMPLED } })
  await server.close()
  t.deepEqual(
    receiver.spans.map(({ name }) => name),
    ['publish orders'],
  )
})
