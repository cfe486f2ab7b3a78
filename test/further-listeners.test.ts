// Several addresses of one protocol are doors to one gateway.
import test from 'ava'
import mqtt from 'mqtt'
import rhea from 'rhea'
import { startServer } from './support/server.ts'
import { eventually } from './support/waiting.ts'

const portsOf = (server: { addresses: readonly { name: string; port: number }[] }, name: string) =>
  server.addresses.filter((address) => address.name === name).map(({ port }) => port)

test('a client that comes by another MQTT port takes its session over, and its will is sent once', async (t) => {
  const { server } = await startServer(t, {
    config: { listeners: [{ protocol: 'mqtt', port: 0 }] },
  })
  const [own, further] = portsOf(server, 'mqtt')
  t.not(own, further)
  const wills: string[] = []
  const watcher = await mqtt.connectAsync(`mqtt://127.0.0.1:${own}`)
  t.teardown(() => watcher.end(true))
  watcher.on('message', (_, payload) => void wills.push(payload.toString()))
  await watcher.subscribeAsync('wills', { qos: 1 })

  const options = { clientId: 'one', protocolVersion: 5, reconnectPeriod: 0 } as const
  const will = { topic: 'wills', payload: Buffer.from('gone'), qos: 1, retain: false } as const
  const properties = { sessionExpiryInterval: 600 }
  const first = await mqtt.connectAsync(`mqtt://127.0.0.1:${own}`, { ...options, properties, will })
  await first.subscribeAsync('kept', { qos: 1 })
  let isTakenOver = false
  first.on('disconnect', ({ reasonCode }) => {
    isTakenOver = reasonCode === 0x8e
  })

  const second = mqtt.connect(`mqtt://127.0.0.1:${further}`, {
    ...options,
    properties,
    clean: false,
  })
  t.teardown(() => second.end(true))
  const received: string[] = []
  second.on('message', (_, payload) => void received.push(payload.toString()))
  const present = await new Promise((resolve) =>
    second.once('connect', ({ sessionPresent }) => resolve(sessionPresent)),
  )
  t.true(present)
  await eventually(async () => isTakenOver || undefined)
  await eventually(async () => wills.length > 0 || undefined)
  await watcher.publishAsync('kept', 'after', { qos: 1 })
  await eventually(async () => received.length > 0 || undefined)
  await watcher.publishAsync('wills', 'end', { qos: 1 })
  await eventually(async () => wills.includes('end') || undefined)
  t.deepEqual(wills, ['gone', 'end'])
  t.deepEqual(received, ['after'])
})

test('a link that is attached by another AMQP port is the same link', async (t) => {
  const { server } = await startServer(t, {
    config: { listeners: [{ protocol: 'amqp', port: 0 }] },
  })
  const container = rhea.create_container({ id: 'one' })
  const links = portsOf(server, 'amqp').map((port) => {
    const connection = container.connect({ host: '127.0.0.1', port, reconnect: false })
    return { connection, port }
  })
  t.is(links.length, 2)
  t.teardown(() => {
    for (const { connection } of links) connection.close()
  })
  const [first, second] = links
  const source = { address: 'news', durable: 2, expiry_policy: 'never' }
  const receiver = first!.connection.open_receiver({ name: 'one-link', source })
  await new Promise((resolve) => receiver.once('receiver_open', resolve))
  const stolen = new Promise<string>((resolve) => {
    receiver.once('receiver_error', ({ receiver: one }: { receiver: typeof receiver }) =>
      resolve((one.error as unknown as { condition: string }).condition),
    )
  })
  const again = second!.connection.open_receiver({ name: 'one-link', source })
  await new Promise((resolve) => again.once('receiver_open', resolve))
  t.is(await stolen, 'amqp:link:stolen')
})

test('a port of another protocol is none of a gateway that is not enabled', async (t) => {
  const { server } = await startServer(t, {
    config: { amqp: { enabled: false }, listeners: [{ protocol: 'amqp', port: 0 }] },
  })
  t.deepEqual(portsOf(server, 'amqp'), [])
})
