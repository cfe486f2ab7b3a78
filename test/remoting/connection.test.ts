import { createServer, type Server, type Socket } from 'node:net'
import test, { type ExecutionContext } from 'ava'
import { BrokerError } from '../../src/errors.ts'
import { FLAG_ONE_WAY, FLAG_RESPONSE } from '../../src/remoting/codes.ts'
import {
  type Command,
  decodeCommand,
  encodeCommand,
  requestHeader,
  responseHeader,
} from '../../src/remoting/command.ts'
import { type DialOptions, dial, type RemotingConnection } from '../../src/remoting/connection.ts'
import { FrameSplitter } from '../../src/remoting/frame.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { eventually } from '../support/waiting.ts'

interface Peer {
  readonly port: number
  readonly heard: Command[]
  readonly sockets: Socket[]
  send(bytes: Uint8Array): void
}

/** A server that hears commands and answers each with `serve`. */
async function listen(
  t: ExecutionContext,
  serve: (command: Command) => Uint8Array | undefined = () => undefined,
): Promise<Peer> {
  const heard: Command[] = []
  const sockets: Socket[] = []
  const server: Server = createServer((socket) => {
    sockets.push(socket)
    socket.on('error', () => {})
    const splitter = new FrameSplitter((...frame) => {
      const command = decodeCommand(...frame)
      heard.push({ ...command, body: Buffer.from(command.body) })
      const answer = serve(command)
      if (answer !== undefined) socket.write(answer)
    })
    socket.on('data', (chunk) => splitter.push(chunk))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const { port } = server.address() as { port: number }
  return { port, heard, sockets, send: (bytes) => void sockets.at(-1)!.write(bytes) }
}

const echo = (command: Command): Buffer =>
  encodeCommand(responseHeader(command.opaque, 0, command.fields), command.body, command.codec)

async function connect(
  t: ExecutionContext,
  port: number,
  options: Partial<DialOptions> = {},
): Promise<{ connection: RemotingConnection; clock: FakeClock }> {
  const clock = new FakeClock()
  const connection = await dial({ host: '127.0.0.1', port, clock, ...options })
  t.teardown(() => connection.close())
  return { connection, clock }
}

const codeOf = (error: unknown): string | undefined =>
  error instanceof BrokerError ? error.code : String(error)

test('every answer finds its request, in whatever order they come', async (t) => {
  const asked: Command[] = []
  const peer = await listen(t, (command) => {
    asked.push(command)
    return undefined
  })
  const { connection } = await connect(t, peer.port)
  const answers = ['a', 'b', 'c'].map((name) =>
    connection.request(1, { fields: new Map([['name', name]]) }),
  )
  await eventually(async () => (asked.length === 3 ? true : undefined))
  for (const command of asked.toReversed()) peer.send(echo(command))
  const names = await Promise.all(answers.map(async (answer) => (await answer).fields.get('name')))
  t.deepEqual(names, ['a', 'b', 'c'])
})

test('an answer that comes in pieces is gathered in the memory that was lent for it', async (t) => {
  const peer = await listen(t, echo)
  const readInto = Buffer.alloc(1024)
  const { connection } = await connect(t, peer.port, { readInto })
  const lent = Buffer.alloc(20_000)
  connection.lend(() => lent)
  const body = Buffer.alloc(10_000, 'a')
  const first = await connection.request(1, { body })
  t.is(first.body.buffer, lent.buffer)
  t.true(first.body.equals(body))
  // Another one, and what is larger, have memory of their own.
  const second = await connection.request(1, { body: Buffer.alloc(10_000, 'b') })
  connection.lend(() => lent)
  const large = await connection.request(1, { body: Buffer.alloc(30_000, 'c') })
  t.true(first.body.equals(body))
  t.true(second.body.equals(Buffer.alloc(10_000, 'b')))
  t.true(large.body.equals(Buffer.alloc(30_000, 'c')))
})

test('an answer that comes whole is kept when more is read', async (t) => {
  const peer = await listen(t, echo)
  const { connection } = await connect(t, peer.port, { readInto: Buffer.alloc(1024) })
  const first = await connection.request(1, { body: Buffer.from('first') })
  await connection.request(1, { body: Buffer.from('other') })
  t.is(first.body.toString(), 'first')
})

test('requests of one turn are written together', async (t) => {
  const peer = await listen(t, echo)
  const { connection } = await connect(t, peer.port)
  let chunks = 0
  peer.sockets[0]?.on('data', () => chunks++)
  await eventually(async () => (peer.sockets.length === 1 ? true : undefined))
  peer.sockets[0]!.on('data', () => chunks++)
  await Promise.all(Array.from({ length: 100 }, () => connection.request(1)))
  t.true(chunks < 10, `${chunks} chunks`)
})

test('an answer that does not come in time fails its request only', async (t) => {
  const peer = await listen(t, (command) => (command.code === 2 ? echo(command) : undefined))
  const { connection, clock } = await connect(t, peer.port)
  const late = t.throwsAsync(connection.request(1, { timeoutMs: 500 }), {
    message: /no answer within 500 ms: request 1 to 127/,
  })
  clock.advance(500)
  t.is(codeOf(await late), 'TIMED_OUT')
  t.is((await connection.request(2)).code, 0)
})

test('an aborted request fails with its reason', async (t) => {
  const peer = await listen(t)
  const { connection } = await connect(t, peer.port)
  const abort = new AbortController()
  const asked = connection.request(1, { signal: abort.signal })
  const reason = new Error('enough')
  abort.abort(reason)
  t.is(await t.throwsAsync(asked), reason)
  t.is(await t.throwsAsync(connection.request(1, { signal: abort.signal })), reason)
  t.is(connection.pendingRequests, 0)
})

test('a one-way command says so and waits for nothing', async (t) => {
  const peer = await listen(t)
  const { connection } = await connect(t, peer.port)
  connection.oneWay(7, { body: Buffer.from('x') })
  await eventually(async () => peer.heard[0])
  t.is(peer.heard[0]!.flag, FLAG_ONE_WAY)
  t.is(connection.pendingRequests, 0)
})

test("the peer's requests are answered, its one-way pushes are not", async (t) => {
  const peer = await listen(t, (command) => (command.code === 1 ? echo(command) : undefined))
  const pushed: number[] = []
  const { connection } = await connect(t, peer.port, {
    onPush: (command) => {
      pushed.push(command.code)
      return command.code === 307 ? { code: 0, body: Buffer.from('info') } : undefined
    },
  })
  await connection.request(1)
  peer.send(encodeCommand(requestHeader({ code: 40, opaque: 5, oneWay: true })))
  peer.send(encodeCommand(requestHeader({ code: 307, opaque: 5 })))
  await eventually(async () => peer.heard.find((command) => command.flag === FLAG_RESPONSE))
  const answer = peer.heard.at(-1)!
  t.deepEqual(pushed, [40, 307])
  t.is(answer.opaque, 5)
  t.is(answer.body.toString(), 'info')
})

test('closing sends what was given, then fails what waits', async (t) => {
  const peer = await listen(t)
  const { connection } = await connect(t, peer.port)
  const waiting = t.throwsAsync(connection.request(1))
  connection.oneWay(2)
  connection.close()
  t.is(codeOf(await waiting), 'CLOSED')
  t.is(await connection.closed, undefined)
  await eventually(async () => peer.heard.find((command) => command.code === 2))
  t.is(codeOf(await t.throwsAsync(connection.request(3))), 'CLOSED')
  t.throws(() => connection.oneWay(3), { message: /is closed/ })
})

test('a peer that goes away is told of once, and what waits fails', async (t) => {
  const peer = await listen(t)
  const { connection } = await connect(t, peer.port)
  const waiting = t.throwsAsync(connection.request(1))
  await eventually(async () => peer.heard[0])
  peer.sockets[0]!.destroy()
  t.is(codeOf(await waiting), 'UNREACHABLE')
  t.is((await connection.closed)?.code, 'UNREACHABLE')
  t.false(connection.isOpen)
})

test('a peer that talks nonsense is left', async (t) => {
  const peer = await listen(t, () => Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'))
  const { connection } = await connect(t, peer.port)
  await t.throwsAsync(connection.request(1))
  t.is((await connection.closed)?.code, 'PROTOCOL_ERROR')
})

test('a host that refuses, or does not answer in time, is unreachable', async (t) => {
  const peer = await listen(t)
  const { port } = peer
  const clock = new FakeClock()
  const refused = dial({ host: '127.0.0.1', port: 1, clock })
  t.regex(
    (await t.throwsAsync(refused)).message,
    /cannot connect to 127\.0\.0\.1:1: .*ECONNREFUSED/,
  )
  const aborted = new AbortController()
  aborted.abort(new Error('not now'))
  await t.throwsAsync(dial({ host: '127.0.0.1', port, clock, signal: aborted.signal }), {
    message: 'not now',
  })
  // A plain listener never completes a TLS handshake.
  const late = t.throwsAsync(
    dial({ host: '127.0.0.1', port, clock, tls: {}, connectTimeoutMs: 700 }),
  )
  clock.advance(700)
  t.regex((await late).message, /no answer within 700 ms/)
})

test('an answer in another codec than the request is read', async (t) => {
  const peer = await listen(t, (command) =>
    encodeCommand(responseHeader(command.opaque, 3), undefined, 1),
  )
  const { connection } = await connect(t, peer.port)
  t.is((await connection.request(1)).code, 3)
})

test('a request that is refused because too many wait is not sent', async (t) => {
  const peer = await listen(t)
  const { connection } = await connect(t, peer.port)
  const waiting = Array.from({ length: 65_535 }, () => connection.request(1).catch(codeOf))
  await t.throwsAsync(connection.request(2), { code: 'BUSY' })
  await eventually(async () => (peer.heard.length === waiting.length ? true : undefined))
  connection.close()
  t.true((await Promise.all(waiting)).every((code) => code === 'CLOSED'))
  t.false(peer.heard.some(({ code }) => code === 2))
})
