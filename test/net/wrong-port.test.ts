// A client that dials the port of another protocol: the log says so, whatever its gateway does.
import test from 'ava'
import { LogLines } from '../support/log-lines.ts'
import { RawPeer } from '../support/peers/raw-peer.ts'
import { startServer } from '../support/server.ts'

const BEGINNINGS = {
  http: Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'),
  mqtt: Buffer.from('\x10\x0e\0\x04MQTT\x04\x02\0\0\0\x02ab'),
  amqp: Buffer.from('AMQP\0\x01\0\0'),
  remoting: Buffer.from('\0\0\0\x2c\0\0\0\x28{"code":105,"flag":0,"language":"JAVA"}    '),
} as const

for (const [door, wrong, right] of [
  ['nameServer', 'http', 'remoting'],
  ['remoting', 'mqtt', 'remoting'],
  ['mqtt', 'amqp', 'mqtt'],
  ['amqp', 'remoting', 'amqp'],
  ['http', 'mqtt', 'http'],
] as const) {
  test(`a client of ${wrong} at the address of ${door} is told in the log`, async (t) => {
    const log = new LogLines()
    const { port } = await startServer(t, { log })
    const known = await RawPeer.connect(port(door))
    t.teardown(() => known.end())
    known.send(BEGINNINGS[right])
    const stray = await RawPeer.connect(port(door))
    stray.send(BEGINNINGS[wrong])
    await stray.closed()
    const said = log.lines.filter(({ evt }) => evt === 'listener.protocol')
    t.is(said.length, 1)
    t.like(said[0], {
      level: 'warn',
      listener: door,
      spoken: wrong,
      remote: '127.0.0.1',
      refused: 1,
    })
  })
}
