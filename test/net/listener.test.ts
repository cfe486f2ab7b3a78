import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import test, { type ExecutionContext } from 'ava'
import { BrokerError } from '../../src/errors.ts'
import { silentLogger } from '../../src/log.ts'
import { ConnectionBudget } from '../../src/net/connection-budget.ts'
import type { ListenerLimits } from '../../src/net/limits.ts'
import { Listener } from '../../src/net/listener.ts'
import { TurnBudget } from '../../src/net/turn-budget.ts'
import type { Gateway, GatewaySocket } from '../../src/port/gateway.ts'
import { FakeClock } from '../support/fake-clock.ts'

const LIMITS: ListenerLimits = {
  connectionsMax: 100,
  connectionsPerAddressMax: 100,
  unsentBytesMax: 1024 * 1024,
  writeStallMs: 30_000,
  silentMs: 10_000,
}

/** A gateway that does with each socket what the test says. */
class TestGateway implements Gateway {
  readonly protocol = 'mqtt'
  readonly sockets: GatewaySocket[] = []
  readonly #accepted: (socket: GatewaySocket) => void

  constructor(accepted: (socket: GatewaySocket) => void) {
    this.#accepted = accepted
  }

  get connections(): number {
    return this.sockets.length
  }

  accept(socket: GatewaySocket): void {
    this.sockets.push(socket)
    this.#accepted(socket)
  }

  async close(): Promise<void> {}
}

const echo = (socket: GatewaySocket): void => {
  socket.onData((chunk) => socket.write(Buffer.from(chunk)))
  socket.resume()
}

async function open(
  t: ExecutionContext,
  accepted: (socket: GatewaySocket) => void,
  limits: Partial<ListenerLimits> = {},
  budget?: ConnectionBudget,
  turn?: TurnBudget,
): Promise<{ listener: Listener; gateway: TestGateway; clock: FakeClock }> {
  const gateway = new TestGateway(accepted)
  const clock = new FakeClock()
  const listener = await Listener.open({
    host: '127.0.0.1',
    port: 0,
    name: 'mqtt',
    limits: { ...LIMITS, ...limits },
    budget,
    turn,
    log: silentLogger,
    clock,
  })
  listener.serve(gateway)
  t.teardown(() => listener.close())
  return { listener, gateway, clock }
}

function dial(t: ExecutionContext, listener: Listener): Socket {
  const socket = connect(listener.port, '127.0.0.1')
  socket.on('error', () => {})
  t.teardown(() => socket.destroy())
  return socket
}

async function readBytes(socket: Socket, count: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let bytes = 0
  while (bytes < count) {
    const [chunk] = (await once(socket, 'data')) as [Buffer]
    chunks.push(chunk)
    bytes += chunk.length
  }
  return Buffer.concat(chunks)
}

test('bytes go both ways, whole and in order, over many connections that share the read buffer', async (t) => {
  const { listener } = await open(t, echo)
  const clients = Array.from({ length: 8 }, () => dial(t, listener))
  const answers = await Promise.all(
    clients.map((client, index) => {
      const sent = Buffer.alloc(300_000, index + 1)
      client.write(sent)
      return readBytes(client, sent.length)
    }),
  )
  for (const [index, answer] of answers.entries()) {
    t.true(answer.equals(Buffer.alloc(300_000, index + 1)))
  }
})

test('an accepted socket is read through the shared buffer on this node', async (t) => {
  let first: Buffer | undefined
  let second: Buffer | undefined
  const { listener } = await open(t, (socket) => {
    socket.onData((chunk) => {
      if (first === undefined) first = chunk
      else second = chunk
      socket.write(Buffer.from('.'))
    })
    socket.resume()
  })
  const client = dial(t, listener)
  client.write('one')
  await readBytes(client, 1)
  client.write('two')
  await readBytes(client, 1)
  t.is(first?.buffer, second?.buffer)
  t.is(first?.byteOffset, second?.byteOffset, 'the second chunk took the place of the first')
})

test('a paused socket is not read, and goes on where it stopped', async (t) => {
  const { listener, gateway } = await open(t, (socket) => {
    socket.onData((chunk) => {
      socket.write(Buffer.from(chunk))
      socket.pause()
    })
  })
  const client = dial(t, listener)
  client.write('abc')
  await once(client, 'connect')
  while (gateway.sockets.length === 0) await new Promise(setImmediate)
  t.is(client.bytesRead, 0)
  gateway.sockets[0]!.resume()
  t.is((await readBytes(client, 3)).toString(), 'abc')
  client.write('def')
  for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate)
  t.is(client.bytesRead, 3)
  gateway.sockets[0]!.resume()
  t.is((await readBytes(client, 3)).toString(), 'def')
})

test('a gateway that takes a socket after its end is told of it', async (t) => {
  let notify = (_error: Error | undefined): void => {}
  const told = new Promise<Error | undefined>((resolve) => {
    notify = resolve
  })
  const { listener, gateway } = await open(t, () => {})
  const client = dial(t, listener)
  await once(client, 'connect')
  while (gateway.sockets.length === 0) await new Promise(setImmediate)
  const [socket] = gateway.sockets
  socket!.destroy()
  while (listener.connections > 0) await new Promise(setImmediate)
  socket!.onClose(notify)
  t.is(await told, undefined)
})

test('onClose comes once, after an end as after a reset, and the connection is no longer counted', async (t) => {
  const closed: (Error | undefined)[] = []
  let notify = (): void => {}
  const { listener } = await open(t, (socket) => {
    socket.onData(() => {})
    socket.onClose((error) => {
      closed.push(error)
      notify()
    })
    socket.resume()
  })
  for (const way of ['end', 'resetAndDestroy'] as const) {
    const client = dial(t, listener)
    await once(client, 'connect')
    const gone = new Promise<void>((resolve) => {
      notify = resolve
    })
    client.write('x', () => client[way]())
    await gone
  }
  t.is(closed.length, 2)
  t.is(closed[0], undefined)
  t.is(listener.connections, 0)
})

test('a throw while reading closes that connection only', async (t) => {
  const { listener } = await open(t, (socket) => {
    socket.onData((chunk) => {
      if (chunk[0] === 0) throw new Error('bad byte')
      socket.write(Buffer.from(chunk))
    })
    socket.resume()
  })
  const bad = dial(t, listener)
  const good = dial(t, listener)
  bad.write(Buffer.from([0]))
  await once(bad, 'close')
  good.write('still here')
  t.is((await readBytes(good, 10)).toString(), 'still here')
})

test('connections beyond the limit of one address are refused, and freed places can be taken again', async (t) => {
  const { listener } = await open(t, echo, { connectionsPerAddressMax: 2 })
  const first = dial(t, listener)
  const second = dial(t, listener)
  first.write('1')
  second.write('2')
  await Promise.all([readBytes(first, 1), readBytes(second, 1)])
  await once(dial(t, listener).resume(), 'close')
  first.destroy()
  while (listener.connections > 1) await new Promise(setImmediate)
  const fourth = dial(t, listener)
  fourth.write('4')
  t.is((await readBytes(fourth, 1)).toString(), '4')
})

test('connections beyond the total limit are refused', async (t) => {
  const { listener } = await open(t, echo, { connectionsMax: 1 })
  const first = dial(t, listener)
  first.write('1')
  await readBytes(first, 1)
  await once(dial(t, listener).resume(), 'close')
  first.write('2')
  t.is((await readBytes(first, 1)).toString(), '2')
})

test('a connection that never sends a byte is closed after its time', async (t) => {
  const { listener, clock } = await open(t, echo, { silentMs: 5_000 })
  const silent = dial(t, listener)
  const talking = dial(t, listener)
  talking.write('x')
  await readBytes(talking, 1)
  while (listener.connections < 2) await new Promise(setImmediate)
  clock.advance(4_000)
  t.is(listener.connections, 2)
  clock.advance(2_000)
  await once(silent.resume(), 'close')
  talking.write('y')
  t.is((await readBytes(talking, 1)).toString(), 'y')
})

test('a reader that takes none of its bytes is closed after its time', async (t) => {
  const { listener, gateway, clock } = await open(
    t,
    (socket) => {
      socket.onData(() => {
        while (socket.unsentBytes < 8 * 1024 * 1024) socket.write(Buffer.alloc(1024 * 1024))
      })
      socket.resume()
    },
    { writeStallMs: 5_000, unsentBytesMax: 32 * 1024 * 1024 },
  )
  const client = dial(t, listener)
  client.pause()
  client.write('go')
  while (!(gateway.sockets[0] && gateway.sockets[0].unsentBytes > 0)) {
    await new Promise(setImmediate)
  }
  let closed = false
  gateway.sockets[0].onClose(() => {
    closed = true
  })
  clock.advance(4_000)
  await new Promise(setImmediate)
  t.false(closed)
  clock.advance(4_000)
  while (!closed) await new Promise(setImmediate)
  t.is(listener.connections, 0)
})

test('a reader with more waiting bytes than allowed is closed at once, with the reason', async (t) => {
  let reason: Error | undefined
  let seen = (): void => {}
  const gone = new Promise<void>((resolve) => {
    seen = resolve
  })
  const { listener } = await open(
    t,
    (socket) => {
      socket.onClose((error) => {
        reason = error
        seen()
      })
      socket.onData(() => {
        for (let i = 0; i < 64; i++) socket.write(Buffer.alloc(1024 * 1024))
      })
      socket.resume()
    },
    { unsentBytesMax: 2 * 1024 * 1024 },
  )
  const client = dial(t, listener)
  client.pause()
  client.write('go')
  await gone
  t.true(reason instanceof BrokerError)
  t.regex(reason?.message ?? '', /2097152 is the most/)
})

test('a port in use is an error that names the address and what to do', async (t) => {
  const other = createServer().listen(0, '127.0.0.1')
  await once(other, 'listening')
  t.teardown(() => other.close())
  const { port } = other.address() as { port: number }
  const error = await t.throwsAsync(
    Listener.open({
      host: '127.0.0.1',
      port,
      name: 'nameServer',
      limits: LIMITS,
      log: silentLogger,
      clock: new FakeClock(),
    }),
    { instanceOf: BrokerError, code: 'CONFIG_INVALID' },
  )
  t.is(
    error.message,
    `nameServer cannot listen on 127.0.0.1:${port}: another process listens there; stop it or choose another port with --name-server.port`,
  )
})

test('close destroys what is open and settles', async (t) => {
  const { listener, clock } = await open(t, echo)
  const client = dial(t, listener)
  client.write('x')
  await readBytes(client, 1)
  listener.stopAccepting()
  const late = dial(t, listener)
  const [error] = (await once(late, 'error')) as [NodeJS.ErrnoException]
  t.is(error.code, 'ECONNREFUSED')
  client.write('y')
  t.is((await readBytes(client, 1)).toString(), 'y', 'the open connection goes on')
  const closed = once(client, 'close')
  await listener.close()
  await closed
  t.is(clock.pending, 0)
})

test('connections made before there is a gateway wait for it, unread', async (t) => {
  const listener = await Listener.open({
    host: '127.0.0.1',
    port: 0,
    name: 'mqtt',
    limits: LIMITS,
    log: silentLogger,
    clock: new FakeClock(),
  })
  t.teardown(() => listener.close())
  const client = dial(t, listener)
  client.write('early')
  while (listener.connections === 0) await new Promise(setImmediate)
  listener.serve(new TestGateway(echo))
  t.is((await readBytes(client, 5)).toString(), 'early')
})

test('listeners that share a budget refuse when it is used up, and one that closes makes room', async (t) => {
  const budget = new ConnectionBudget(2, 1)
  const { listener } = await open(t, echo, {}, budget)
  const dialled = (): Socket => {
    const socket = connect(listener.port, '127.0.0.1')
    t.teardown(() => socket.destroy())
    return socket.on('error', () => {})
  }
  const first = dialled()
  const second = dialled()
  for (const socket of [first, second]) {
    socket.write('x')
    await once(socket, 'data')
  }
  await once(dialled(), 'close')
  first.destroy()
  while (listener.connections > 1) await new Promise((resolve) => setImmediate(resolve))
  const third = dialled()
  third.write('x')
  await once(third, 'data')
  t.is(listener.connections, 2)
})

/** Each chunk takes a whole turn's time. */
const slowly = (clock: FakeClock, socket: GatewaySocket, handle: (chunk: Buffer) => void): void => {
  socket.onData((chunk) => {
    clock.advance(20)
    handle(chunk)
  })
  socket.resume()
}

test('a short request is read between the chunks of many connections with bulk work', async (t) => {
  const served: string[] = []
  const clock = new FakeClock()
  const bulk = await open(t, () => {}, {}, undefined, new TurnBudget(clock))
  const prompt = await open(t, () => {})
  const clients = Array.from({ length: 20 }, () => dial(t, bulk.listener))
  clients.push(dial(t, prompt.listener))
  await Promise.all(
    clients.map((client) => new Promise((resolve) => client.write('request', resolve))),
  )
  while (bulk.gateway.sockets.length < 20 || prompt.gateway.sockets.length < 1) {
    await new Promise(setImmediate)
  }
  for (const socket of bulk.gateway.sockets) slowly(clock, socket, () => served.push('bulk'))
  for (const socket of prompt.gateway.sockets) {
    socket.onData(() => served.push('prompt'))
    socket.resume()
  }
  while (served.length < 21) await new Promise(setImmediate)
  t.true(served.indexOf('prompt') < 20, served.join(' '))
})

test('bytes that are kept for a later turn come whole and in order', async (t) => {
  const clock = new FakeClock()
  const turn = new TurnBudget(clock)
  const accepted = (socket: GatewaySocket): void =>
    slowly(clock, socket, (chunk) => socket.write(Buffer.from(chunk)))
  const { listener } = await open(t, accepted, {}, undefined, turn)
  const clients = Array.from({ length: 8 }, () => dial(t, listener))
  const sent = Buffer.from(Array.from({ length: 600_000 }, (_, i) => i % 251))
  const answers = await Promise.all(
    clients.map((client) => {
      client.end(sent)
      return readBytes(client, sent.length)
    }),
  )
  for (const answer of answers) t.true(answer.equals(sent))
})

test('bytes that are kept wait for a socket that is paused, and come before its end', async (t) => {
  const clock = new FakeClock()
  const got: string[] = []
  const accepted = (socket: GatewaySocket): void =>
    slowly(clock, socket, (chunk) => {
      got.push(chunk.toString())
      for (const other of gateway.sockets) other.pause()
    })
  const turn = new TurnBudget(clock)
  const { listener, gateway } = await open(t, accepted, {}, undefined, turn)
  const clients = Array.from({ length: 5 }, () => dial(t, listener))
  for (const [index, client] of clients.entries()) client.end(`${index}`)
  while (gateway.sockets.length < 5 || got.length < 1) await new Promise(setImmediate)
  for (let turns = 0; turns < 20; turns++) await new Promise(setImmediate)
  const before = got.length
  while (got.length < 5) {
    for (const socket of gateway.sockets) socket.resume()
    await new Promise(setImmediate)
  }
  t.true(before < 5)
  t.deepEqual(got.sort(), ['0', '1', '2', '3', '4'])
})

test('what a gateway hands back comes again in later turns, before all others', async (t) => {
  const chunks: string[] = []
  const { listener } = await open(t, (socket) => {
    socket.onData((chunk) => {
      chunks.push(chunk.toString())
      socket.write(Buffer.from(chunk.subarray(0, 2)))
      if (chunk.length > 2) socket.handBack(chunk.subarray(2))
    })
    socket.resume()
  })
  const client = dial(t, listener)
  client.write('aabbcc')
  t.is((await readBytes(client, 6)).toString(), 'aabbcc')
  t.deepEqual(chunks, ['aabbcc', 'bbcc', 'cc'])
  client.write('dd')
  t.is((await readBytes(client, 2)).toString(), 'dd', 'it is read on')
})
