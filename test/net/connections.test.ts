// A stop is as quick as its live clients: peers that say nothing any more are not waited for.
import { once } from 'node:events'
import { connect as dial, type Socket } from 'node:net'
import test, { type ExecutionContext } from 'ava'
import { Connections, type Leaving } from '../../src/net/connections.ts'
import { encodeCommand, requestHeader } from '../../src/remoting/command.ts'
import { begin, handshake } from '../support/amqp/raw-amqp.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { connect } from '../support/mqtt/mqtt-packets.ts'
import { StillSocket } from '../support/peers/still-socket.ts'
import { startServer } from '../support/server.ts'

interface Peer extends Leaving {
  isBusy: boolean
  unsentBytes: number
}

/** The connections of a front-end that closes, and which were cut off at what time. */
function front(clock: FakeClock, deadlineMs: number, names: readonly string[]) {
  const connections = new Connections<Peer>(clock)
  const cut: string[] = []
  const leave = new Map<Peer, () => void>()
  const peers = names.map((name) => {
    const peer: Peer = {
      isBusy: false,
      unsentBytes: 0,
      shutDown: () => {},
      destroy: () => {
        cut.push(`${name} at ${clock.monotonic()}`)
        leave.get(peer)!()
      },
    }
    connections.accept(new StillSocket(), (_serial, gone) => {
      leave.set(peer, gone)
      return peer
    })
    return peer
  })
  const done = connections.close(deadlineMs)
  return { peers, cut, done, leave, connections }
}

test('a silent connection is cut off after a moment, one that closes is not waited for longer', async (t) => {
  const clock = new FakeClock()
  const { peers, cut, done, leave } = front(clock, 10_000, ['silent', 'closes'])
  await clock.advanceAsync(100)
  leave.get(peers[1]!)!()
  await clock.advanceAsync(200)
  await done
  t.deepEqual(cut, ['silent at 260'])
  t.is(clock.pending, 0)
})

test('one that takes its bytes, or has something under way, is given until the deadline', async (t) => {
  const clock = new FakeClock()
  const { peers, cut, done } = front(clock, 1_000, ['slow', 'busy', 'stuck'])
  const [slow, busy, stuck] = peers as [Peer, Peer, Peer]
  slow.unsentBytes = 1_000_000
  stuck.unsentBytes = 1_000_000
  busy.isBusy = true
  for (let ms = 0; ms < 1_000; ms += 100) {
    slow.unsentBytes -= 1_000
    await clock.advanceAsync(100)
  }
  await done
  t.deepEqual(cut, ['stuck at 280', 'slow at 1000', 'busy at 1000'])
})

test('a socket that comes while the front-end closes is let go', (t) => {
  const { connections } = front(new FakeClock(), 1_000, ['silent'])
  const late = new StillSocket()
  connections.accept(late, () => t.fail() as never)
  t.true(late.isClosed)
  t.is(connections.size, 1)
})

/** A peer that never answers a goodbye nor closes its side. */
async function silentPeer(t: ExecutionContext, port: number, hello: Buffer): Promise<Socket> {
  const socket = dial({ port, host: '127.0.0.1', allowHalfOpen: true })
  socket.on('error', () => {})
  t.teardown(() => socket.destroy())
  await once(socket, 'connect')
  socket.write(hello)
  return socket
}

const PULL = encodeCommand(
  requestHeader({
    code: 11,
    opaque: 1,
    fields: new Map(
      Object.entries({
        ...{ consumerGroup: 'g', topic: 'T', queueId: '0', queueOffset: '0', maxMsgNums: '32' },
        ...{ sysFlag: '6', commitOffset: '0', suspendTimeoutMillis: '30000' },
        ...{ subscription: '*', subVersion: '0' },
      }),
    ),
  }),
)

test('silent clients of all three protocols, one with a held pull, hold no stop', async (t) => {
  t.timeout(60_000)
  const clock = new FakeClock()
  const server = await startServer(t, {
    config: { nameServer: { enabled: false }, stopDeadlineMs: 600_000 },
    clock,
  })
  const mqtt = await silentPeer(t, server.port('mqtt'), connect('phone', { keepAlive: 0 }))
  const amqp = await silentPeer(t, server.port('amqp'), Buffer.concat([handshake(), begin()]))
  await Promise.all([mqtt, amqp].map((socket) => once(socket, 'data')))
  const native = await silentPeer(t, server.port('remoting'), PULL)
  // It is served: the broker holds the pull, and answers a second one that asks for no wait.
  native.write(
    encodeCommand(requestHeader({ code: 34, opaque: 2 }), Buffer.from('{"clientID":"c"}')),
  )
  await once(native, 'data')
  const closed = server.server.close()
  const ended = Promise.all(
    [mqtt, amqp, native].map((socket) => {
      socket.resume()
      return once(socket, 'end')
    }),
  )
  let hasEnded = false
  void ended.then(() => {
    hasEnded = true
  })
  while (!hasEnded) await clock.advanceAsync(20)
  // Their time is over; the rest of the stop needs none.
  for (let i = 0; i < 20; i++) await clock.advanceAsync(20)
  await closed
  t.pass()
})
