// TLS at a listener's port, told by the first byte; real sockets, an echo behind them.
import { once } from 'node:events'
import { type AddressInfo, connect as connectPlain, createServer, type Socket } from 'node:net'
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls'
import test, { type ExecutionContext } from 'ava'
import type { LogFields } from '../../src/log.ts'
import { Listener } from '../../src/net/listener.ts'
import { type ClientCertificates, TlsAcceptor } from '../../src/net/tls.ts'
import type { GatewaySocket } from '../../src/port/gateway.ts'
import { pem } from '../support/certificates.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { LogLines } from '../support/log-lines.ts'
import { countTurns, endSlicesAtOnce } from '../support/turns.ts'
import { eventually } from '../support/waiting.ts'

const until = (isSo: () => boolean): Promise<true> => eventually(async () => isSo() || undefined)

interface Opened {
  readonly listener: Listener
  readonly acceptor: TlsAcceptor
  readonly clock: FakeClock
  readonly sockets: readonly GatewaySocket[]
  /** The sentences of the log. */
  readonly said: readonly string[]
}

const HANDSHAKE_MS = 5_000

async function open(
  t: ExecutionContext,
  options: {
    /** Without TLS. */
    readonly isPlain?: boolean
    readonly isEnforced?: boolean
    readonly versionMin?: 'TLSv1.3'
    readonly clients?: ClientCertificates
    readonly accepted?: (socket: GatewaySocket) => void
  } = {},
): Promise<Opened> {
  const { isEnforced = false, clients = 'none', accepted = echo, versionMin = 'TLSv1.2' } = options
  const identity = { cert: pem('server.pem'), key: pem('server.key'), ca: pem('ca.pem') }
  const clock = new FakeClock()
  const acceptor = new TlsAcceptor({
    identity,
    clientCertificates: clients,
    userFrom: 'commonName',
    versionMin,
    handshakeMs: HANDSHAKE_MS,
    clock,
  })
  const tls = options.isPlain ? undefined : { acceptor, isEnforced }
  const said: string[] = []
  const log = Object.assign(new LogLines(), {
    warn: (_: LogFields, text: string) => void said.push(text),
    debug: (_: LogFields, text: string) => void said.push(text),
  })
  const listener = await Listener.open({
    host: '127.0.0.1',
    port: 0,
    name: 'mqtt',
    limits: {
      connectionsMax: 100,
      connectionsPerAddressMax: 100,
      unsentBytesMax: 1024 * 1024,
      writeStallMs: 30_000,
      silentMs: 10_000,
    },
    tls,
    log,
    clock,
  })
  const sockets: GatewaySocket[] = []
  listener.serve({
    accept: (socket) => {
      sockets.push(socket)
      accepted(socket)
    },
  })
  t.teardown(() => listener.close())
  return { listener, acceptor, clock, sockets, said }
}

const echo = (socket: GatewaySocket): void => {
  socket.onData((chunk) => socket.write(Buffer.from(chunk)))
  socket.resume()
}

function dial(t: ExecutionContext, port: number, options: ConnectionOptions = {}): TLSSocket {
  const socket = connect({ host: '127.0.0.1', port, ca: pem('ca.pem'), ...options })
  t.teardown(() => socket.destroy())
  return socket
}

function dialPlain(t: ExecutionContext, port: number): Socket {
  const socket = connectPlain(port, '127.0.0.1')
  socket.on('error', () => {})
  t.teardown(() => socket.destroy())
  return socket
}

async function echoed(socket: Socket, sent: Buffer): Promise<boolean> {
  socket.write(sent)
  let got = Buffer.alloc(0)
  while (got.length < sent.length) {
    const [chunk] = (await once(socket, 'data')) as [Buffer]
    got = Buffer.concat([got, chunk])
  }
  return got.equals(sent)
}

/** Why the client's connection did not come about or ended. */
const endOf = (socket: Socket): Promise<string> =>
  new Promise((resolve) => {
    socket.once('error', (error: Error & { code?: string }) => resolve(error.code ?? error.message))
    socket.once('close', () => resolve('closed'))
    socket.resume()
  })

test('clients with TLS and clients without share a port', async (t) => {
  const { listener } = await open(t)
  const plain = dialPlain(t, listener.port)
  const secured = [dial(t, listener.port), dial(t, listener.port)]
  const bytes = Buffer.alloc(400_000, 'both ways')
  t.deepEqual(await Promise.all([plain, ...secured].map((one) => echoed(one, bytes))), [
    true,
    true,
    true,
  ])
  t.true(secured.every(({ authorized }) => authorized))
  t.is(listener.connections, 3)
  for (const socket of [plain, ...secured]) socket.end()
  await until(() => listener.connections === 0)
  t.pass()
})

test('a hello that comes byte by byte is one', async (t) => {
  const { listener } = await open(t)
  const plain = dialPlain(t, listener.port)
  await once(plain, 'connect')
  // Ends in the middle of a record: what is sent here is passed on one byte at a time.
  const { Duplex } = await import('node:stream')
  const slow = new Duplex({
    read() {},
    write(chunk: Buffer, _, done) {
      const send = (at: number): void => {
        if (at === chunk.length) done()
        else plain.write(chunk.subarray(at, at + 1), () => send(at + 1))
      }
      send(0)
    },
  })
  plain.on('data', (chunk) => slow.push(chunk))
  const client = connect({ socket: slow, ca: pem('ca.pem'), host: '127.0.0.1' })
  t.teardown(() => client.destroy())
  t.true(await echoed(client, Buffer.from('slowly')))
})

test('where TLS is enforced, a client without it is turned away alone, and the log says why', async (t) => {
  const { listener, sockets, said } = await open(t, { isEnforced: true })
  const secured = dial(t, listener.port)
  t.true(await echoed(secured, Buffer.from('before')))
  const plain = dialPlain(t, listener.port)
  plain.write('no hello')
  t.is(await endOf(plain), 'closed')
  t.deepEqual(said, ['a connection was closed: it came without TLS, which this address enforces'])
  t.true(await echoed(secured, Buffer.from('after')))
  t.is(sockets.length, 2)
})

test('a client with TLS where there is none is told by an alert, and the log says why', async (t) => {
  const { listener, said } = await open(t, { isPlain: true })
  const end = await endOf(dial(t, listener.port))
  t.regex(end, /ALERT_HANDSHAKE_FAILURE/)
  t.deepEqual(said, ['a connection was closed: it came with TLS, which this address does not take'])
})

test('a request of HTTP where TLS is enforced is answered', async (t) => {
  const { listener } = await open(t, { isEnforced: true })
  const plain = dialPlain(t, listener.port)
  plain.end('GET / HTTP/1.1\r\n\r\n')
  const [answer] = (await once(plain, 'data')) as [Buffer]
  t.regex(String(answer), /^HTTP\/1\.1 400 .*without TLS, which this address enforces/s)
})

test('a client that speaks no version that is new enough is told by an alert', async (t) => {
  const { listener, said } = await open(t, { versionMin: 'TLSv1.3' })
  const old = dial(t, listener.port, { maxVersion: 'TLSv1.2' })
  t.regex(await endOf(old), /ALERT_PROTOCOL_VERSION/)
  await until(() => said.length === 1)
  t.regex(said[0]!, /handshake failed \(unsupported protocol\)/)
  t.true(await echoed(dial(t, listener.port), Buffer.from('new enough')))
})

test('a client that trusts other CAs ends its own connection, and the log says so', async (t) => {
  const { listener, said } = await open(t)
  const client = dial(t, listener.port, { ca: pem('other-ca.pem') })
  t.is(await endOf(client), 'SELF_SIGNED_CERT_IN_CHAIN')
  await until(() => listener.connections === 0)
  const witness = dial(t, listener.port)
  t.true(await echoed(witness, Buffer.from('served')))
  t.true(said.length <= 1)
})

const identityOf = (name: string): ConnectionOptions => ({
  cert: pem(`${name}.pem`),
  key: pem(`${name}.key`),
})

test('where client certificates are required, one of the CA lets in', async (t) => {
  const { listener, said } = await open(t, { clients: 'required' })
  const client = dial(t, listener.port, identityOf('client'))
  t.true(await echoed(client, Buffer.from('hello')))
  t.deepEqual(said, [])
})

test('a session that is resumed has the user of its certificate, and none outlives its CAs', async (t) => {
  const { listener, acceptor, sockets } = await open(t, { clients: 'required' })
  const first = dial(t, listener.port, identityOf('client'))
  let session: Buffer | undefined
  first.on('session', (ticket) => {
    session = ticket
  })
  t.true(await echoed(first, Buffer.from('hello')))
  await until(() => session !== undefined)
  const resume = async (): Promise<boolean> => {
    const again = dial(t, listener.port, { ...identityOf('client'), session })
    t.true(await echoed(again, Buffer.from('again')))
    return again.isSessionReused()
  }
  t.true(await resume())
  acceptor.use({ cert: pem('server.pem'), key: pem('server.key'), ca: pem('ca.pem') })
  t.false(await resume())
  t.deepEqual(
    sockets.map(({ certifiedUser }) => certifiedUser),
    ['client', 'client', 'client'],
  )
})

test('where client certificates are required, a client without one is told by an alert', async (t) => {
  const { listener, said } = await open(t, { clients: 'required' })
  t.is(await endOf(dial(t, listener.port)), 'ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED')
  await until(() => said.length === 1)
  t.regex(said[0]!, /the client showed no certificate, and tls\.clientCertificates is required/)
})

for (const clients of ['required', 'optional'] as const) {
  test(`where client certificates are ${clients}, one of another CA is refused`, async (t) => {
    const { listener, said, sockets } = await open(t, { clients })
    const data: Buffer[] = []
    const client = dial(t, listener.port, identityOf('stranger'))
    client.on('data', (chunk) => data.push(chunk))
    client.write('let me in')
    await endOf(client)
    await until(() => said.length === 1)
    t.regex(said[0]!, /certificate was refused \(UNABLE_TO_VERIFY_LEAF_SIGNATURE\); tls\.ca names/)
    t.is(data.length, 0)
    t.is(sockets.length, 1)
  })
}

test('a client certificate that has expired is refused, and the log says so', async (t) => {
  const { listener, said } = await open(t, { clients: 'required' })
  const expired = { cert: pem('expired.pem'), key: pem('server.key') }
  const client = dial(t, listener.port, expired)
  client.write('let me in')
  await endOf(client)
  await until(() => said.length === 1)
  t.regex(said[0]!, /certificate was refused \(CERT_HAS_EXPIRED\)/)
})

test('a client that asks to renegotiate is told no, and others are served on', async (t) => {
  const { listener } = await open(t)
  const client = dial(t, listener.port, { maxVersion: 'TLSv1.2' })
  await once(client, 'secureConnect')
  t.is(client.getProtocol(), 'TLSv1.2')
  t.true(await echoed(client, Buffer.from('before')))
  const refused = endOf(client)
  client.renegotiate({ rejectUnauthorized: false }, () => {})
  t.is(await refused, 'ERR_SSL_NO_RENEGOTIATION')
  t.true(await echoed(dial(t, listener.port), Buffer.from('other')))
})

test('where client certificates are optional, a client without one is served', async (t) => {
  const { listener } = await open(t, { clients: 'optional' })
  t.true(await echoed(dial(t, listener.port), Buffer.from('hello')))
})

test.serial('many handshakes at once are begun over many turns', async (t) => {
  const { listener, clock } = await open(t)
  endSlicesAtOnce(t, clock)
  const turn = countTurns(t)
  const turns: number[] = []
  const { secure } = TlsAcceptor.prototype
  TlsAcceptor.prototype.secure = function (this: TlsAcceptor, socket, hello) {
    turns.push(turn())
    return secure.call(this, socket, hello)
  }
  t.teardown(() => {
    TlsAcceptor.prototype.secure = secure
  })
  const first = dialPlain(t, listener.port)
  const hello = new Promise<Buffer>((resolve) => {
    const listening = createServer((socket) => socket.once('data', resolve)).listen(0, () => {
      dial(t, (listening.address() as AddressInfo).port).on('error', () => {})
    })
    t.teardown(() => listening.close())
  })
  const bytes = await hello
  const peers = [first, ...Array.from({ length: 19 }, () => dialPlain(t, listener.port))]
  await until(() => listener.connections === peers.length)
  for (const peer of peers) peer.write(bytes)
  await until(() => turns.length === peers.length)
  t.true(new Set(turns).size >= peers.length / 2, `${new Set(turns).size} turns`)
})

test('what is decrypted comes in the buffer that all sockets share, as what needs no key', async (t) => {
  const memory = new Set<ArrayBufferLike>()
  const { listener } = await open(t, {
    accepted(socket) {
      socket.onData((chunk) => {
        memory.add(chunk.buffer)
        socket.write(Buffer.from(chunk))
      })
      socket.resume()
    },
  })
  const bytes = Buffer.alloc(100_000, 'both ways')
  t.true(await echoed(dialPlain(t, listener.port), bytes))
  t.true(await echoed(dial(t, listener.port), bytes))
  t.is(memory.size, 1)
})

test('half a handshake is closed after its time, and a whole one is not', async (t) => {
  const { listener, clock, said } = await open(t)
  const secured = dial(t, listener.port)
  t.true(await echoed(secured, Buffer.from('done')))
  const half = dialPlain(t, listener.port)
  half.write(Buffer.from('160301', 'hex'))
  await until(() => listener.connections === 2)
  const gone = endOf(half)
  await until(() => {
    clock.advance(1_000)
    return listener.connections === 1
  })
  await gone
  t.true(said.includes(`its handshake was not done within ${HANDSHAKE_MS} ms`))
  t.true(await echoed(secured, Buffer.from('still there')))
})

test('a client that is silent after its handshake is closed after its time', async (t) => {
  const { listener, clock } = await open(t)
  const secured = dial(t, listener.port)
  await once(secured, 'secureConnect')
  const gone = endOf(secured)
  await until(() => {
    clock.advance(1_000)
    return listener.connections === 0
  })
  t.is(await gone, 'closed')
})

test('a broken hello closes its connection alone', async (t) => {
  const { listener, said } = await open(t)
  const secured = dial(t, listener.port)
  t.true(await echoed(secured, Buffer.from('before')))
  const broken = dialPlain(t, listener.port)
  broken.write(Buffer.from('1603010004deadbeef', 'hex'))
  await endOf(broken)
  await until(() => said.length === 1)
  t.regex(said[0]!, /its TLS handshake failed/)
  t.true(await echoed(secured, Buffer.from('after')))
})

test('a paused gateway reads nothing of a client with TLS, and goes on where it stopped', async (t) => {
  const read: Buffer[] = []
  const { listener, sockets } = await open(t, {
    accepted: (socket) => {
      socket.onData((chunk) => {
        read.push(Buffer.from(chunk))
        if (read.length === 1) socket.pause()
      })
      socket.resume()
    },
  })
  const client = dial(t, listener.port)
  const sent = Buffer.alloc(2_000_000, 'in order ')
  client.write(sent)
  await until(() => read.length === 1)
  sockets[0]!.resume()
  await until(() => Buffer.concat(read).length === sent.length)
  t.true(Buffer.concat(read).equals(sent))
})

test('a reader over TLS that takes nothing is closed at the limit of waiting bytes', async (t) => {
  const reasons: (string | undefined)[] = []
  const { listener } = await open(t, {
    accepted: (socket) => {
      socket.onData(() => {
        for (let sent = 0; sent < 64; sent++) socket.write(Buffer.alloc(1024 * 1024))
      })
      socket.onClose((error) => reasons.push(error?.message))
      socket.resume()
    },
  })
  const client = dial(t, listener.port)
  client.on('error', () => {})
  client.pause()
  client.write('go')
  await until(() => reasons.length === 1)
  t.regex(reasons[0] ?? '', /bytes wait for a slow reader/)
})
