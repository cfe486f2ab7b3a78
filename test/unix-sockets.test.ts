// Listeners at unix sockets: real clients, and the file that a killed broker leaves.
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import mqtt from 'mqtt'
import rhea, { type ConnectionOptions } from 'rhea'
import type { ConfigInput } from '../src/config.ts'
import { spawnServer, startServer } from './support/server.ts'
import { tempDir } from './support/temp-dir.ts'

const listeningAt = (path: string): ConfigInput => ({ listeners: [{ protocol: 'any', path }] })

async function publish(t: ExecutionContext, path: string): Promise<void> {
  const client = await mqtt.connectAsync({
    unixSocket: true,
    protocol: 'mqtt',
    path,
    reconnectPeriod: 0,
  } as never)
  t.teardown(() => client.end(true))
  await client.publishAsync('orders', 'mqtt', { qos: 1 })
}

test('MQTT and AMQP clients come by a unix socket', async (t) => {
  const path = join(await tempDir(t), 'trivet.sock')
  const { server } = await startServer(t, { config: listeningAt(path) })
  t.like(
    server.addresses.find(({ name }) => name === 'any'),
    { host: path, port: 0 },
  )
  await publish(t, path)
  const container = rhea.create_container()
  const dial = (_port: unknown, _host: unknown, _options: unknown, connected: () => void) =>
    connect({ path }, connected)
  const details = () => ({ connect: dial, host: 'here', port: 0 })
  const options = { connection_details: details, reconnect: false }
  const connection = container.connect(options as unknown as ConnectionOptions)
  t.teardown(() => connection.close())
  const sender = connection.open_sender('orders')
  await once(sender, 'sendable')
  sender.send({ body: 'amqp' })
  await once(sender, 'accepted')
  t.pass()
})

test('the socket that a killed broker leaves is taken over', async (t) => {
  const path = join(await tempDir(t), 'trivet.sock')
  const server = await spawnServer(t, { config: listeningAt(path) })
  await server.kill()
  await server.start()
  await t.notThrowsAsync(publish(t, path))
})

test('a start says which folder of a socket is missing', async (t) => {
  const path = join(await tempDir(t), 'none', 'trivet.sock')
  await t.throwsAsync(startServer(t, { config: listeningAt(path) }), {
    message: `any cannot listen on ${path}: its folder is missing, or this user may not write there`,
  })
})

test('the socket of a broker that runs is not, and no other file', async (t) => {
  const directory = await tempDir(t)
  const path = join(directory, 'trivet.sock')
  await startServer(t, { config: listeningAt(path) })
  const taken = { message: /any cannot listen on .*trivet\.sock: another process listens there/ }
  await t.throwsAsync(startServer(t, { config: listeningAt(path) }), taken)
  const file = join(directory, 'file')
  await writeFile(file, 'not a socket')
  await t.throwsAsync(startServer(t, { config: listeningAt(file) }))
  await t.notThrowsAsync(publish(t, path))
})
