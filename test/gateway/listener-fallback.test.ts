// A node that does not let us read into a buffer of our own: the listener reads the ordinary way.
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import test from 'ava'
import { Listener } from '../../src/gateway/net/listener.ts'
import { silentLogger } from '../../src/log.ts'
import type { Gateway, GatewaySocket } from '../../src/port/gateway.ts'
import { FakeClock } from '../support/fake-clock.ts'

/** Takes the method away from every handle of this worker; no other test runs in it. */
async function hideUserBuffers(): Promise<void> {
  const server = createServer((socket) => socket.destroy()).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  const client = connect(port, '127.0.0.1')
  await once(client, 'connect')
  const handle = (client as unknown as { _handle: object })._handle
  for (let at = Object.getPrototypeOf(handle); at !== null; at = Object.getPrototypeOf(at)) {
    if (Object.hasOwn(at, 'useUserBuffer')) {
      Object.defineProperty(at, 'useUserBuffer', { value: undefined, configurable: true })
    }
  }
  client.destroy()
  server.close()
}

test('without a shared read buffer a connection works the same', async (t) => {
  await hideUserBuffers()
  const closed: (Error | undefined)[] = []
  const gateway: Gateway = {
    protocol: 'mqtt',
    connections: 0,
    accept(socket: GatewaySocket) {
      socket.onData((chunk) => {
        socket.write(Buffer.from(chunk))
        socket.pause()
        setImmediate(() => socket.resume())
      })
      socket.onClose((error) => closed.push(error))
      socket.resume()
    },
    close: async () => {},
  }
  const listener = await Listener.open({
    host: '127.0.0.1',
    port: 0,
    name: 'mqtt',
    limits: {
      connectionsMax: 10,
      connectionsPerAddressMax: 10,
      unsentBytesMax: 65_536 * 64,
      writeStallMs: 30_000,
      silentMs: 10_000,
    },
    log: silentLogger,
    clock: new FakeClock(),
  })
  listener.serve(gateway)
  t.teardown(() => listener.close())
  const client = connect(listener.port, '127.0.0.1')
  const sent = Buffer.alloc(400_000, 'abcdefg')
  client.write(sent)
  const chunks: Buffer[] = []
  let bytes = 0
  while (bytes < sent.length) {
    const [chunk] = (await once(client, 'data')) as [Buffer]
    chunks.push(chunk)
    bytes += chunk.length
  }
  t.true(Buffer.concat(chunks).equals(sent))
  client.end()
  await once(client, 'close')
  while (listener.connections > 0) await new Promise(setImmediate)
  t.deepEqual(closed, [undefined])
})
