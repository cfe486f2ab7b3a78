// Unmodified RocketMQ clients that know one address: the name server and the broker are behind it, and so
// are the other protocols.
import test from 'ava'
import mqtt from 'mqtt'
import type { ConfigInput } from '../src/config.ts'
import { pemFile, SERVER_TLS } from '../test/support/certificates.ts'
import { spawnServer } from '../test/support/server.ts'
import { aliOns } from './support/ali-ons-client.ts'
import { java, javaClientMissing, mqadmin } from './support/java-client.ts'
import { needing } from './support/needing.ts'

const missing = await javaClientMissing()
const testJava = needing('the Java client at one port', missing)

const ONE_PORT: ConfigInput = { any: { port: 0 } }
const COUNT = 20

testJava('Java clients send and consume, over TLS too', async (t) => {
  const server = await spawnServer(t, { config: { ...ONE_PORT, tls: SERVER_TLS } })
  const common = { nameServer: server.address('any'), topic: 'OnePort' }
  const consumer = await java(t, 'push', { ...common, group: 'G_ONE' })
  await consumer.ready()
  const overTls = [
    '-Dtls.enable=true',
    '-Dtls.test.mode.enable=false',
    '-Dtls.client.authServer=true',
    `-Dtls.client.trustCertPath=${pemFile('ca.pem')}`,
  ]
  for (const settings of [[], overTls]) {
    const producer = await java(t, 'produce', { ...common, mode: 'sync', count: COUNT }, settings)
    await producer.ends()
    t.is(producer.of('sent').length, COUNT)
  }
  t.is((await consumer.receives(2 * COUNT)).length, 2 * COUNT)
})

testJava('mqadmin finds the broker and changes its topics', async (t) => {
  const server = await spawnServer(t, { config: ONE_PORT })
  const address = server.address('any')
  t.true((await mqadmin('clusterList', '-n', address)).includes(address))
  await mqadmin('updateTopic', '-n', address, '-c', 'DefaultCluster', '-t', 'ByMqadmin')
  t.regex(await mqadmin('topicList', '-n', address), /ByMqadmin/)
})

test('ali-ons sends and consumes, beside an MQTT client at the same port', async (t) => {
  const server = await spawnServer(t, { config: ONE_PORT })
  const common = { nameServer: server.address('any'), topic: 'OnePort' }
  const consumer = aliOns(t, { role: 'consume', ...common, group: 'O_one' })
  await consumer.ready()
  const producer = aliOns(t, { role: 'produce', ...common, count: COUNT })
  await producer.ends()
  t.deepEqual(producer.of('failed'), [])
  t.is((await consumer.receives(COUNT)).length, COUNT)
  const device = await mqtt.connectAsync(`mqtt://${server.address('any')}`)
  t.teardown(() => device.end(true))
  await device.publishAsync('OnePort/by/mqtt', 'hello', { qos: 1 })
  t.is((await consumer.receives(COUNT + 1)).length, COUNT + 1)
})
