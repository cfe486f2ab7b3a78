// WebSocket at a listener's port, told by the first bytes; the clients are of the library `ws` or
// write their own bytes, and an echo is behind the port.
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import test, { type ExecutionContext } from 'ava'
import { type ClientOptions, WebSocket } from 'ws'
import type { LogFields } from '../../src/log.ts'
import { Listener } from '../../src/net/listener.ts'
import { PartialFrames } from '../../src/net/partial-frames.ts'
import { TlsAcceptor } from '../../src/net/tls.ts'
import { WebSocketAcceptor, type WebSocketOptions } from '../../src/net/websocket.ts'
import type { GatewaySocket } from '../../src/port/gateway.ts'
import { pem } from '../support/certificates.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { GENEROUS_LIMITS } from '../support/front-end.ts'
import { LogLines } from '../support/log-lines.ts'
import { eventually } from '../support/waiting.ts'

const until = (isSo: () => boolean): Promise<true> => eventually(async () => isSo() || undefined)

const HANDSHAKE_MS = 5_000
const FRAME_BYTES_MAX = 1_000_000

interface Opened {
  readonly listener: Listener
  readonly clock: FakeClock
  readonly sockets: readonly GatewaySocket[]
  /** The sentences of the log. */
  readonly said: readonly string[]
  readonly url: string
}

const echo = (socket: GatewaySocket): void => {
  socket.onData((chunk) => socket.write(Buffer.from(chunk)))
  socket.resume()
}

async function open(
  t: ExecutionContext,
  options: Partial<WebSocketOptions> & {
    readonly accepted?: (socket: GatewaySocket) => void
    readonly isSecured?: boolean
    readonly unsentBytesMax?: number
    readonly partialBytesMax?: number
  } = {},
): Promise<Opened> {
  const {
    accepted = echo,
    isSecured = false,
    unsentBytesMax = 1024 * 1024,
    partialBytesMax,
    ...rest
  } = options
  const clock = new FakeClock()
  const settings = {
    subprotocols: ['mqtt', 'mqttv3.1'],
    origins: [],
    headerBytesMax: 4096,
    frameBytesMax: FRAME_BYTES_MAX,
    handshakeMs: HANDSHAKE_MS,
    ...rest,
  }
  const webSocket = new WebSocketAcceptor(settings, new PartialFrames(partialBytesMax))
  const acceptor = new TlsAcceptor({
    identity: { cert: pem('server.pem'), key: pem('server.key') },
    clientCertificates: 'none',
    versionMin: 'TLSv1.2',
    handshakeMs: HANDSHAKE_MS,
    clock,
  })
  const tls = isSecured ? { acceptor, isEnforced: true } : undefined
  const said: string[] = []
  const log = Object.assign(new LogLines(), {
    warn: (_: LogFields, text: string) => void said.push(text),
    debug: (_: LogFields, text: string) => void said.push(text),
  })
  const limits = { ...GENEROUS_LIMITS, unsentBytesMax }
  const at = { host: '127.0.0.1', port: 0, name: 'mqtt' }
  const listener = await Listener.open({ ...at, limits, tls, webSocket, log, clock })
  const sockets: GatewaySocket[] = []
  listener.serve({
    accept: (socket) => {
      sockets.push(socket)
      accepted(socket)
    },
  })
  t.teardown(() => listener.close())
  const url = `${isSecured ? 'wss' : 'ws'}://127.0.0.1:${listener.port}/`
  return { listener, clock, sockets, said, url }
}

function dial(
  t: ExecutionContext,
  url: string,
  subprotocols: string | string[] = 'mqtt',
  options: ClientOptions = {},
): WebSocket {
  const client = new WebSocket(url, subprotocols, { ca: pem('ca.pem'), ...options })
  client.on('error', () => {})
  t.teardown(() => client.terminate())
  return client
}

/** The bytes of as many frames as it takes. */
async function read(client: WebSocket, bytes: number): Promise<Buffer> {
  const parts: Buffer[] = []
  let length = 0
  while (length < bytes) {
    const [part] = (await once(client, 'message')) as [Buffer]
    parts.push(part)
    length += part.length
  }
  return Buffer.concat(parts)
}

const closeOf = async (client: WebSocket): Promise<number> =>
  ((await once(client, 'close')) as [number])[0]

/** The status and text by which the request was refused. */
async function refusalOf(client: WebSocket): Promise<string> {
  const [, response] = (await once(client, 'unexpected-response')) as [
    unknown,
    AsyncIterable<Buffer>,
  ]
  let text = ''
  for await (const chunk of response) text += chunk
  return `${(response as unknown as { statusCode: number }).statusCode} ${text.trim()}`
}

test('bytes go both ways, however frames cut them', async (t) => {
  const { url, sockets } = await open(t)
  const client = dial(t, url)
  await once(client, 'open')
  t.is(client.protocol, 'mqtt')
  const bytes = Buffer.alloc(300_000, 'both ways ')
  const back = read(client, bytes.length + 3)
  for (const byte of [1, 2, 3]) client.send(Buffer.of(byte))
  for (let at = 0; at < bytes.length; at += 70_000) client.send(bytes.subarray(at, at + 70_000))
  t.true((await back).equals(Buffer.concat([Buffer.of(1, 2, 3), bytes])))
  t.is(sockets.length, 1)
})

test('a message in fragments is one', async (t) => {
  const { url } = await open(t)
  const client = dial(t, url)
  await once(client, 'open')
  const back = read(client, 9)
  for (const part of ['one', 'two']) client.send(Buffer.from(part), { fin: false })
  client.send(Buffer.from('end'), { fin: true })
  t.is(String(await back), 'onetwoend')
})

test('clients without WebSocket share the port', async (t) => {
  const { url, listener } = await open(t)
  const plain = connect(listener.port, '127.0.0.1')
  t.teardown(() => plain.destroy())
  plain.write('\x10plain')
  const client = dial(t, url)
  await once(client, 'open')
  client.send(Buffer.from('framed'))
  t.is(String(await read(client, 6)), 'framed')
  t.is(String((await once(plain, 'data'))[0]), '\x10plain')
})

test('WebSocket goes over TLS at the same port', async (t) => {
  const { url } = await open(t, { isSecured: true })
  const client = dial(t, url)
  await once(client, 'open')
  const bytes = Buffer.alloc(200_000, 'secret ')
  const back = read(client, bytes.length)
  client.send(bytes)
  t.true((await back).equals(bytes))
})

test('of the sub-protocols that are asked for, the first that is spoken is chosen', async (t) => {
  const { url } = await open(t)
  const client = dial(t, url, ['stomp', 'mqttv3.1', 'mqtt'])
  await once(client, 'open')
  t.is(client.protocol, 'mqttv3.1')
})

for (const [what, asked, said] of [
  [
    'another sub-protocol',
    ['amqp'],
    /^400 it asked for "amqp"; this address speaks mqtt, mqttv3\.1/,
  ],
  ['no sub-protocol', [], /^400 it asked for no sub-protocol; this address speaks mqtt/],
] as const) {
  test(`${what} is refused in words, by the answer and the log`, async (t) => {
    const { url, sockets, said: log, listener } = await open(t)
    const refusal = await refusalOf(dial(t, url, [...asked]))
    t.regex(refusal, said)
    await until(() => log.length === 1)
    t.is(log[0], `a connection was closed: ${refusal.slice(4)}`)
    await until(() => listener.connections === 0)
    t.is(sockets.length, 1)
  })
}

test('pages of origins that are not named are refused, and of those that are named not', async (t) => {
  const { url } = await open(t, { origins: ['https://app.example.com'] })
  const stranger = dial(t, url, 'mqtt', { origin: 'https://evil.example' })
  t.regex(await refusalOf(stranger), /^403 pages of "https:\/\/evil\.example" may not connect/)
  const own = dial(t, url, 'mqtt', { origin: 'https://app.example.com' })
  await once(own, 'open')
  t.pass()
})

test('a star lets pages of every origin connect', async (t) => {
  const { url } = await open(t, { origins: ['*'] })
  const client = dial(t, url, 'mqtt', { origin: 'https://anywhere.example' })
  await once(client, 'open')
  t.pass()
})

/** The whole answer to a request that is written as it is. */
async function answerTo(t: ExecutionContext, port: number, request: string): Promise<string> {
  const socket = dialPlain(t, port)
  socket.write(request)
  let text = ''
  socket.on('data', (chunk) => {
    text += chunk
  })
  await once(socket, 'close')
  return text
}

function dialPlain(t: ExecutionContext, port: number): Socket {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  t.teardown(() => socket.destroy())
  return socket
}

test('a request without an upgrade is told what is spoken here', async (t) => {
  const { listener } = await open(t)
  const answer = await answerTo(t, listener.port, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  t.regex(answer, /^HTTP\/1\.1 426 Upgrade Required\r\nUpgrade: websocket\r\n/)
})

test('a header over the limit is refused', async (t) => {
  const { listener, said } = await open(t)
  const header = `X-Long: ${'a'.repeat(5_000)}`
  const answer = await answerTo(t, listener.port, `GET / HTTP/1.1\r\nHost: a\r\n${header}\r\n\r\n`)
  t.regex(answer, /^HTTP\/1\.1 431 /)
  await until(() => said.length === 1)
  t.regex(said[0]!, /larger than webSocket\.headerBytesMax/)
})

test('a request that is no HTTP is refused', async (t) => {
  const { listener } = await open(t)
  const answer = await answerTo(t, listener.port, 'HELLO broker\r\n\r\n')
  t.regex(answer, /^HTTP\/1\.1 400 /)
})

test('half a request is closed after its time', async (t) => {
  const { listener, clock, said } = await open(t)
  const half = dialPlain(t, listener.port)
  half.write('GET / HTTP/1.1\r\nHost: ')
  await until(() => listener.connections === 1)
  await until(() => {
    clock.advance(1_000)
    return listener.connections === 0
  })
  t.true(said.includes(`its handshake was not done within ${HANDSHAKE_MS} ms`))
})

test('a request that comes byte by byte is one', async (t) => {
  const { listener } = await open(t)
  const slow = dialPlain(t, listener.port)
  slow.setNoDelay(true)
  const request = [
    'GET /mqtt HTTP/1.1',
    'Host: 127.0.0.1',
    'Upgrade: websocket',
    'Connection: Upgrade',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Protocol: mqtt',
  ]
  for (const byte of `${request.join('\r\n')}\r\n\r\n`) {
    await new Promise((written) => slow.write(byte, written))
  }
  const [answer] = (await once(slow, 'data')) as [Buffer]
  t.regex(String(answer), /^HTTP\/1\.1 101 .*s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=/s)
})

test('a text frame ends its connection by code 1003, and reaches no gateway', async (t) => {
  const read: Buffer[] = []
  const { url } = await open(t, {
    accepted: (socket) => {
      socket.onData((chunk) => void read.push(Buffer.from(chunk)))
      socket.resume()
    },
  })
  const client = dial(t, url)
  await once(client, 'open')
  client.send('text')
  t.is(await closeOf(client), 1003)
  t.deepEqual(read, [])
})

test('a frame over the limit ends its connection by code 1009', async (t) => {
  const { url } = await open(t)
  const client = dial(t, url)
  await once(client, 'open')
  client.send(Buffer.alloc(FRAME_BYTES_MAX + 1))
  t.is(await closeOf(client), 1009)
})

test('messages that are not whole are bounded over all connections: the oldest is given up', async (t) => {
  const { url, listener } = await open(t, { partialBytesMax: 500_000 })
  const half = async (): Promise<WebSocket> => {
    const client = dial(t, url)
    await once(client, 'open')
    client.send(Buffer.alloc(300_000), { fin: false })
    return client
  }
  const oldest = await half()
  await half()
  await closeOf(oldest)
  const whole = dial(t, url)
  await once(whole, 'open')
  for (let sent = 0; sent < 10; sent++) {
    const back = read(whole, 100_000)
    whole.send(Buffer.alloc(100_000))
    await back
  }
  t.is(listener.connections, 2)
})

test('the end of the gateway is a close frame behind its last bytes', async (t) => {
  const { url } = await open(t, {
    accepted: (socket) => {
      socket.onData(() => socket.end(Buffer.from('goodbye')))
      socket.resume()
    },
  })
  const client = dial(t, url)
  await once(client, 'open')
  client.send(Buffer.of(1))
  t.is(String(await read(client, 7)), 'goodbye')
  t.is(await closeOf(client), 1000)
})

test('what came before the end of a client is read, also by a gateway that had paused', async (t) => {
  const read: Buffer[] = []
  let isClosed = false
  const { url, sockets, listener } = await open(t, {
    accepted: (socket) => {
      socket.onData((chunk) => {
        read.push(Buffer.from(chunk))
        if (read.length === 1) socket.pause()
      })
      socket.onClose(() => {
        isClosed = true
      })
      socket.resume()
    },
  })
  const client = dial(t, url)
  await once(client, 'open')
  for (let sent = 0; sent < 100; sent++) client.send(Buffer.alloc(1000, sent))
  client.close()
  await until(() => read.length === 1)
  t.false(isClosed)
  sockets[0]!.resume()
  await until(() => isClosed)
  t.is(Buffer.concat(read).length, 100_000)
  await until(() => listener.connections === 0)
})

test('a client that is gone without a close frame is noticed', async (t) => {
  const reasons: unknown[] = []
  const { url } = await open(t, {
    accepted: (socket) => {
      socket.onClose((error) => reasons.push(error))
      socket.resume()
    },
  })
  const client = dial(t, url)
  await once(client, 'open')
  client.terminate()
  await until(() => reasons.length === 1)
  t.pass()
})

test('a reader that takes nothing is closed at the limit of waiting bytes', async (t) => {
  const reasons: (string | undefined)[] = []
  const { url } = await open(t, {
    accepted: (socket) => {
      socket.onData(() => {
        for (let sent = 0; sent < 64; sent++) socket.write(Buffer.alloc(1024 * 1024))
      })
      socket.onClose((error) => reasons.push(error?.message))
      socket.resume()
    },
  })
  const client = dial(t, url)
  await once(client, 'open')
  client.pause()
  client.send(Buffer.of(1))
  await until(() => reasons.length === 1)
  t.regex(reasons[0] ?? '', /bytes wait for a slow reader/)
})
