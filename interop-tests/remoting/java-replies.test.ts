// Requests and replies between the unmodified Java client, mqtt.js by MQTT 5 and rhea by AMQP.
import test from 'ava'
import type { IPublishPacket } from 'mqtt'
import { bodyText, connectRhea } from '../../test/support/amqp/rhea-client.ts'
import { mqttClient } from '../../test/support/mqtt/mqtt.ts'
import { type SpawnedServer, spawnServer } from '../../test/support/server.ts'
import { bodyOf } from '../support/foreign-client.ts'
import { java, javaClientMissing } from '../support/java-client.ts'

const missing = await javaClientMissing()
if (missing !== undefined) {
  process.stderr.write(`SKIPPED: replies of and to the Java client, because ${missing}\n`)
  test.skip(`the Java client: ${missing}`, (t) => t.pass())
}
const testJava = missing === undefined ? test.serial : test.skip

let server: SpawnedServer
const leftovers: (() => unknown)[] = []
test.before(async () => {
  const later = { teardown: (end: () => unknown) => void leftovers.unshift(end) }
  if (missing === undefined) server = await spawnServer(later)
})
test.after.always(async () => {
  await server?.stop()
  for (const end of leftovers) await end()
})

const nameServer = (): string => server.address('nameServer')

testJava('mqtt.js answers a request of Java, on the response topic', async (t) => {
  const client = await mqttClient(t, server.port('mqtt'), 5)
  await client.subscribe('AskedOfMqtt/#')
  const asker = await java(t, 'request', {
    nameServer: nameServer(),
    topic: 'AskedOfMqtt',
    body: 'why',
  })
  const [request] = await client.messages(1, 120_000)
  t.is(request!.text, 'why')
  const { responseTopic, correlationData } = request!
    .properties as IPublishPacket['properties'] & {}
  await client.publish(responseTopic!, 'because', {
    properties: { correlationData: correlationData!, userProperties: { by: 'mqtt.js' } },
  })
  const [reply] = await asker.receives(1)
  t.is(bodyOf(reply!), 'because')
  t.is(reply!.properties['by'], 'mqtt.js')
})

testJava('rhea answers a request of Java, at its reply-to', async (t) => {
  const client = await connectRhea(t, server.port('amqp'))
  const receiver = await client.receiver('AskedOfAmqp::responders')
  const asker = await java(t, 'request', {
    nameServer: nameServer(),
    topic: 'AskedOfAmqp',
    body: 'why',
  })
  receiver.credit(1)
  const { message, delivery } = await receiver.take()
  delivery!.accept()
  const sender = await client.sender(message.reply_to!)
  const correlation_id = message.message_id!
  const application_properties = { by: 'rhea' }
  const { kind } = await sender.send({ body: 'because', correlation_id, application_properties })
  t.is(kind, 'accepted')
  const [reply] = await asker.receives(1)
  t.is(bodyOf(reply!), 'because')
  t.is(reply!.properties['by'], 'rhea')
})

testJava('Java answers requests of mqtt.js and rhea', async (t) => {
  const responder = await java(t, 'respond', {
    nameServer: nameServer(),
    topic: 'AskedOfJava',
    body: 'because',
  })
  await responder.ready()
  const mqtt = await mqttClient(t, server.port('mqtt'), 5)
  await mqtt.subscribe('my/answers')
  const correlationData = Buffer.of(0, 255)
  await mqtt.publish('AskedOfJava', 'why', {
    properties: { responseTopic: 'my/answers', correlationData },
  })
  const amqp = await connectRhea(t, server.port('amqp'))
  const receiver = await amqp.receiver('AmqpAnswers::me')
  const sender = await amqp.sender('AskedOfJava')
  await sender.send({ body: 'why', reply_to: 'AmqpAnswers', correlation_id: 'c-1' })
  const [byMqtt] = await mqtt.messages(1, 120_000)
  t.is(byMqtt!.text, 'because')
  t.deepEqual(byMqtt!.properties['correlationData'], correlationData)
  t.is((byMqtt!.properties['userProperties'] as { by?: string }).by, 'java')
  receiver.credit(1)
  const { message } = await receiver.take()
  t.is(bodyText(message), 'because')
  t.is(message.correlation_id, 'c-1')
  t.deepEqual(responder.of('failed'), [])
})
