// MQTT and AMQP over WebSocket, with the libraries that applications use.
import { once } from 'node:events'
import test from 'ava'
import mqtt, { type MqttClient } from 'mqtt'
import rhea, { type ConnectionOptions } from 'rhea'
import { WebSocket } from 'ws'
import { pem, SERVER_TLS } from './support/certificates.ts'
import { cheapHash } from './support/cheap-password.ts'
import { startServer, type TestServer } from './support/server.ts'

const TRUSTING = { ca: pem('ca.pem') }

const nextMessage = (client: MqttClient): Promise<Buffer> =>
  new Promise((resolve) => client.once('message', (_, payload) => resolve(payload)))

for (const scheme of ['ws', 'wss'] as const) {
  for (const protocolVersion of [4, 5] as const) {
    test(`MQTT ${protocolVersion} goes over ${scheme}, beside a client over TCP`, async (t) => {
      const server = await startServer(t, { config: { tls: SERVER_TLS } })
      const port = server.port('mqtt')
      const options = { ...TRUSTING, protocolVersion, reconnectPeriod: 0 }
      const web = await mqtt.connectAsync(`${scheme}://127.0.0.1:${port}/mqtt`, options)
      t.teardown(() => web.end(true))
      const plain = await mqtt.connectAsync(`mqtt://127.0.0.1:${port}`, options)
      t.teardown(() => plain.end(true))
      await web.subscribeAsync('to/web', { qos: 1 })
      await plain.subscribeAsync('to/plain', { qos: 1 })
      const large = Buffer.alloc(1_000_000, 'large')
      const here = nextMessage(plain)
      await web.publishAsync('to/plain', large, { qos: 2 })
      t.true(large.equals(await here))
      const there = nextMessage(web)
      await plain.publishAsync('to/web', large, { qos: 1 })
      t.true(large.equals(await there))
    })
  }

  test(`AMQP goes over ${scheme}, with a user`, async (t) => {
    const users = { one: { password: cheapHash('open sesame'), admin: true } }
    const server = await startServer(t, { config: { tls: SERVER_TLS, users } })
    const connection = dialAmqp(server, scheme, { username: 'one', password: 'open sesame' })
    t.teardown(() => connection.close())
    const body = 'b'.repeat(200_000)
    const sender = connection.open_sender('orders')
    await once(sender, 'sendable')
    sender.send({ body })
    await once(sender, 'accepted')
    const receiver = connection.open_receiver('orders::readers')
    const [{ message }] = await once(receiver, 'message')
    t.is(message.body, body)
  })
}

function dialAmqp(server: TestServer, scheme: string, options: Partial<ConnectionOptions> = {}) {
  const container = rhea.create_container()
  const over = container.websocket_connect(WebSocket as never)
  const url = `${scheme}://127.0.0.1:${server.port('amqp')}/`
  const details = over(url, ['amqp'], TRUSTING)
  return container.connect({
    ...options,
    connection_details: details,
    reconnect: false,
  } as unknown as ConnectionOptions)
}

test('an address speaks WebSocket with its own sub-protocols only', async (t) => {
  const server = await startServer(t)
  const client = new WebSocket(`ws://${server.address('amqp')}`, 'mqtt')
  const [error] = (await once(client, 'error')) as [Error]
  t.regex(error.message, /400/)
})

test('webSocket.enabled set to false takes no HTTP', async (t) => {
  const server = await startServer(t, { config: { webSocket: { enabled: false } } })
  const client = new WebSocket(`ws://${server.address('mqtt')}`, 'mqtt')
  const [error] = (await once(client, 'error')) as [Error]
  t.regex(error.message, /socket hang up/)
})
