// At every address a connection has to show in its time what it is, whatever it begins with.
import { connect } from 'node:net'
import test, { type ExecutionContext } from 'ava'
import type { ConfigInput } from '../src/config.ts'
import type { ListenerName } from '../src/listening.ts'
import { encodeCommand, responseHeader } from '../src/remoting/command.ts'
import { SERVER_TLS } from './support/certificates.ts'
import { FakeClock } from './support/fake-clock.ts'
import { startServer } from './support/server.ts'

/** Longer than any deadline of what was begun. */
const BEGUN_MS = 40_000
/** RocketMQ's clients connect to servers that they may need later. */
const SILENT_MS = 125_000
const TURNS = 30

/** Both ends are in this process: in so many turns what was sent is read. */
async function turns(): Promise<void> {
  for (let i = 0; i < TURNS; i++) await new Promise((resolve) => setImmediate(resolve))
}

/** The beginnings of what is spoken, none of them whole. */
const BEGINNINGS: Readonly<Record<string, Buffer>> = {
  nothing: Buffer.alloc(0),
  'a native frame': Buffer.from([0]),
  'a CONNECT': Buffer.from([0x10]),
  'an AMQP header': Buffer.from('A'),
  'an HTTP request': Buffer.from('GET / HTTP/1.1\r\nHost: a\r\n'),
  'a TLS hello': Buffer.from([0x16]),
}

async function checkClosed(
  t: ExecutionContext,
  config: ConfigInput,
  names: readonly ListenerName[],
  beginnings = BEGINNINGS,
) {
  const clock = new FakeClock()
  const server = await startServer(t, { clock, config })
  const open = new Map<string, number>()
  for (const name of names) {
    for (const [what, bytes] of Object.entries(beginnings)) {
      const label = `${name}: ${what}`
      const socket = connect(server.port(name), '127.0.0.1')
      t.teardown(() => socket.destroy())
      open.set(label, bytes.length === 0 ? SILENT_MS : BEGUN_MS)
      socket.on('error', () => {}).on('close', () => open.delete(label))
      await new Promise((resolve) => socket.once('connect', resolve))
      if (bytes.length > 0) socket.write(bytes)
      socket.resume()
    }
  }
  await turns()
  for (let ms = 0; open.size > 0; ms += 1_000) {
    const late = [...open].filter(([, allowedMs]) => ms >= allowedMs)
    t.deepEqual(late, [])
    if (late.length > 0) return
    clock.advance(1_000)
    await turns()
  }
}

const REPLICATION = { enabled: true, port: 0 }

test('a connection that does not show what it is is closed in time, at every port', (t) => {
  const names: ListenerName[] = ['nameServer', 'remoting', 'vip', 'mqtt', 'amqp', 'http']
  const config = { replication: REPLICATION, remoting: { port: 0, vipChannel: true } }
  return checkClosed(t, config, [...names, 'replication'])
})

test('frames that are no HELLO keep no connection to a master', (t) => {
  const answer = encodeCommand(responseHeader(1, 0))
  return checkClosed(t, { replication: REPLICATION }, ['replication'], { 'an answer': answer })
})

test('a connection that does not show what it is is closed in time, at the port of all', (t) =>
  checkClosed(t, { any: { port: 0 }, tls: SERVER_TLS }, ['any']))

test('a connection that does not show what it is is closed in time, behind TLS that is enforced', (t) => {
  const config = {
    tls: SERVER_TLS,
    mqtt: { tls: 'enforcing' as const },
    amqp: { tls: 'enforcing' as const },
    http: { tls: 'enforcing' as const },
    remoting: { port: 0, tls: 'enforcing' as const, vipChannel: false },
  }
  return checkClosed(t, config, ['mqtt', 'amqp', 'http', 'remoting'])
})
