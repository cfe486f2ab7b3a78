// The PROXY protocol at a listener: proxies that are named say whose connection they pass on.
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import test, { type ExecutionContext } from 'ava'
import type { LogFields } from '../../src/log.ts'
import { Listener, type ListenerOptions } from '../../src/net/listener.ts'
import { ProxyAddresses, readProxyHeader } from '../../src/net/proxy-header.ts'
import { TlsAcceptor } from '../../src/net/tls.ts'
import type { GatewaySocket } from '../../src/port/gateway.ts'
import { pem } from '../support/certificates.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { GENEROUS_LIMITS } from '../support/front-end.ts'
import { LogLines } from '../support/log-lines.ts'
import { eventually } from '../support/waiting.ts'

const until = (isSo: () => boolean): Promise<true> => eventually(async () => isSo() || undefined)

const SIGNATURE = '0d0a0d0a000d0a515549540a'
/** 192.0.2.7:1234 to 198.51.100.1:1883, and four bytes that a proxy adds. */
const VERSION_2 = Buffer.from(`${SIGNATURE}21110010c0000207c633640104d2075b03000100`, 'hex')
const VERSION_1 = Buffer.from('PROXY TCP4 192.0.2.7 198.51.100.1 1234 1883\r\n')
const CLIENT = { address: '192.0.2.7', port: 1234 }

async function open(t: ExecutionContext, options: Partial<ListenerOptions> = {}) {
  const clock = new FakeClock()
  const said: string[] = []
  const log = Object.assign(new LogLines(), {
    warn: (_: LogFields, text: string) => void said.push(text),
    debug: (_: LogFields, text: string) => void said.push(text),
  })
  const listener = await Listener.open({
    ...{ host: '127.0.0.1', port: 0, name: 'mqtt', limits: GENEROUS_LIMITS, log, clock },
    proxies: new ProxyAddresses(['127.0.0.0/8']),
    ...options,
  })
  const sockets: GatewaySocket[] = []
  listener.serve({
    accept: (socket) => {
      sockets.push(socket)
      socket.onData((chunk) => socket.write(Buffer.from(chunk)))
      socket.resume()
    },
  })
  t.teardown(() => listener.close())
  return { listener, clock, sockets, said }
}

function dial(t: ExecutionContext, port: number): Socket {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  t.teardown(() => socket.destroy())
  return socket
}

const addressesOf = (sockets: readonly GatewaySocket[]): readonly string[] =>
  sockets.map(({ remoteAddress, remotePort }) => `${remoteAddress}:${remotePort}`)

for (const [version, header] of [
  [1, VERSION_1],
  [2, VERSION_2],
] as const) {
  test(`a header of version ${version} says whose connection it is`, async (t) => {
    const { listener, sockets } = await open(t)
    const client = dial(t, listener.port)
    client.write(Buffer.concat([header, Buffer.from('hello')]))
    t.is(String((await once(client, 'data'))[0]), 'hello')
    t.deepEqual(addressesOf(sockets), ['192.0.2.7:1234'])
  })

  test(`a header of version ${version} is read however it is cut`, (t) => {
    for (let bytes = 1; bytes < header.length; bytes++) {
      t.is(readProxyHeader(header.subarray(0, bytes)), undefined)
    }
    const read = readProxyHeader(Buffer.concat([header, Buffer.from('hello')]))
    t.deepEqual(read, { bytes: header.length, client: CLIENT })
  })
}

test('a header byte by byte is one, and the gateway sees no connection before', async (t) => {
  const { listener, sockets } = await open(t)
  const client = dial(t, listener.port)
  client.setNoDelay(true)
  for (const byte of VERSION_2.subarray(0, -1)) {
    await new Promise((written) => client.write(Buffer.of(byte), written))
  }
  await until(() => listener.connections === 1)
  t.is(sockets.length, 0)
  client.write(Buffer.concat([VERSION_2.subarray(-1), Buffer.from('hello')]))
  t.is(String((await once(client, 'data'))[0]), 'hello')
})

test('a proxy passes TLS on as it is', async (t) => {
  const clock = new FakeClock()
  const acceptor = new TlsAcceptor({
    identity: { cert: pem('server.pem'), key: pem('server.key') },
    clientCertificates: 'none',
    versionMin: 'TLSv1.2',
    handshakeMs: 5_000,
    clock,
  })
  const { listener, sockets } = await open(t, { tls: { acceptor, isEnforced: true } })
  const plain = dial(t, listener.port)
  plain.write(VERSION_2)
  const secured = connectTls({ socket: plain, ca: pem('ca.pem'), host: '127.0.0.1' })
  t.teardown(() => secured.destroy())
  secured.write('hello')
  t.is(String((await once(secured, 'data'))[0]), 'hello')
  t.deepEqual(addressesOf(sockets), ['192.0.2.7:1234'])
})

for (const [what, header] of [
  ['by version 1', Buffer.from('PROXY UNKNOWN\r\n')],
  ['by version 2', Buffer.from(`${SIGNATURE}20000000`, 'hex')],
] as const) {
  test(`a connection of the proxy itself, ${what}, has its own address`, async (t) => {
    const { listener, sockets } = await open(t)
    const client = dial(t, listener.port)
    client.write(Buffer.concat([header, Buffer.from('hello')]))
    await once(client, 'data')
    t.is(sockets[0]?.remoteAddress, '127.0.0.1')
  })
}

for (const [what, header, said] of [
  ['no header', Buffer.from('\x10hello'), /has no header of the PROXY protocol/],
  ['a line without end', Buffer.from(`PROXY TCP4 ${'1'.repeat(200)}`), /its line does not end/],
  ['an address that is none', Buffer.from('PROXY TCP4 a.b 1.2.3.4 1 2\r\n'), /its address is none/],
  [
    'a port that is none',
    Buffer.from('PROXY TCP4 1.2.3.4 1.2.3.4 99999 2\r\n'),
    /its port is none/,
  ],
  ['another version', Buffer.from(`${SIGNATURE}31110000`, 'hex'), /version or command is unknown/],
  ['too many bytes', Buffer.from(`${SIGNATURE}2111ffff`, 'hex'), /4096 are the most/],
  ['no TCP', Buffer.from(`${SIGNATURE}21120000`, 'hex'), /it is of no TCP connection/],
] as const) {
  test(`${what} of a proxy closes its connection alone`, async (t) => {
    const { listener, sockets, said: log } = await open(t)
    const client = dial(t, listener.port)
    client.write(header)
    await once(client, 'close')
    await until(() => log.length === 1)
    t.regex(log[0]!, said)
    t.is(sockets.length, 0)
  })
}

test('half a header is closed after its time', async (t) => {
  const { listener, clock } = await open(t)
  dial(t, listener.port).write(VERSION_2.subarray(0, 5))
  await until(() => listener.connections === 1)
  await until(() => {
    clock.advance(1_000)
    return listener.connections === 0
  })
  t.pass()
})

test('clients are counted by their own address, not by that of their proxy', async (t) => {
  const limits = { ...GENEROUS_LIMITS, connectionsPerAddressMax: 1 }
  const { listener, sockets } = await open(t, { limits })
  for (const last of [1, 2]) {
    const client = dial(t, listener.port)
    client.write(`PROXY TCP4 192.0.2.${last} 198.51.100.1 1 2\r\nhello`)
    await once(client, 'data')
  }
  const third = dial(t, listener.port)
  third.write('PROXY TCP4 192.0.2.1 198.51.100.1 1 2\r\nhello')
  await once(third, 'close')
  t.is(sockets.length, 2)
})

test('addresses that are not named send no header', async (t) => {
  const { listener, sockets } = await open(t, { proxies: new ProxyAddresses(['192.0.2.0/24']) })
  const client = dial(t, listener.port)
  client.write(VERSION_1)
  t.is(String((await once(client, 'data'))[0]), VERSION_1.toString())
  t.is(sockets[0]?.remoteAddress, '127.0.0.1')
})

test('IPv6 clients and networks are understood', (t) => {
  const addresses = new ProxyAddresses(['2001:db8::/32', '10.1.2.3'])
  t.true(addresses.has('2001:db8::7'))
  t.true(addresses.has('::ffff:10.1.2.3'))
  t.false(addresses.has('10.1.2.4'))
  const line = 'PROXY TCP6 2001:db8::9 2001:db8::1 1 2\r\n'
  t.is(readProxyHeader(Buffer.from(line))?.client?.address, '2001:db8::9')
  const both = '20010db8000000000000000000000009'.repeat(2)
  const binary = Buffer.from(`${SIGNATURE}21210024${both}00010002`, 'hex')
  t.deepEqual(readProxyHeader(binary)?.client, { address: '2001:db8:0:0:0:0:0:9', port: 1 })
})
