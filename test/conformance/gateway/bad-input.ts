// Bad input: whatever a peer sends, it costs at most its own connection; others are served, and
// nothing is kept for it.
import test from 'ava'
import { encodeCommand, requestHeader } from '../../../src/remoting/command.ts'
import { AMQP_HEADER, SASL_HEADER } from '../../support/amqp/raw-amqp.ts'
import { connect } from '../../support/mqtt/mqtt-packets.ts'
import { freshSeed, Random } from '../../support/random.ts'
import type { Client, Driver } from './driver.ts'
import { type Served, serve, TOPIC, turn } from './server.ts'

const STREAMS = 40

/** What begins a connection of another kind; a front-end passes over those of its own protocol. */
const FIRST_BYTES: readonly (readonly [protocol: string, what: string, bytes: Buffer])[] = [
  ['none', 'zeros', Buffer.alloc(100)],
  ['http', 'an HTTP request', Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')],
  ['tls', 'a TLS hello', Buffer.from(`16030100f8010000f40303${'00'.repeat(64)}`, 'hex')],
  ['proxy', 'a PROXY header', Buffer.from('PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n')],
  ['mqtt', 'an MQTT CONNECT', connect('c')],
  ['amqp', 'an AMQP header', AMQP_HEADER],
  ['amqp', 'the SASL header of AMQP', SASL_HEADER],
  ['amqp 0-9-1', 'an AMQP 0-9-1 header', Buffer.from('AMQP\u0000\u0000\u0009\u0001', 'latin1')],
  ['remoting', 'a RocketMQ request', encodeCommand(requestHeader({ code: 34, opaque: 1 }))],
]

/** A served front-end, and a client that was there before and is to be served after. */
async function witnessed(
  t: Parameters<typeof serve>[0],
  driver: Driver,
): Promise<{ served: Served; witness: Client; isServed(): Promise<void> }> {
  const served = await serve(t, driver)
  const witness = await served.connect()
  return {
    served,
    witness,
    isServed: async () => {
      await served.left(1)
      t.is(await witness.send(TOPIC, 'still here'), 'accepted')
    },
  }
}

export function badInputCases(driver: Driver): void {
  const { name } = driver

  test(`${name}: the first bytes of another protocol close the connection`, async (t) => {
    const { served, isServed } = await witnessed(t, driver)
    for (const [protocol, , bytes] of FIRST_BYTES) {
      if (protocol === served.gateway.protocol) continue
      const peer = await served.peer()
      peer.send(bytes)
      await peer.closed()
    }
    await isServed()
  })

  for (const { what, bytes, says } of driver.overLimit) {
    test(`${name}: ${what} closes the connection before its bytes come`, async (t) => {
      const { served, isServed } = await witnessed(t, driver)
      const peer = await served.peer()
      peer.send(driver.hellos[0])
      await peer.read(1)
      peer.send(bytes)
      t.true((await peer.closed()).includes(says))
      await isServed()
    })
  }

  for (const [what, streamOf] of [
    ['random bytes', (random: Random) => random.bytes(1 + random.int(200))],
    ['random bytes behind an introduction', behindHello((random) => random.bytes(random.int(200)))],
    [
      'well-framed nonsense',
      behindHello((random) => several(random, () => driver.randomFrame(random))),
    ],
    [
      'real frames in any order, some of their bytes changed',
      behindHello((random) =>
        changed(
          random,
          several(random, () => random.pick(driver.frames)),
        ),
      ),
    ],
    [
      'an introduction with some of its bytes changed',
      (random: Random) => changed(random, random.pick(driver.hellos)),
    ],
    [
      'a stream that ends within a frame',
      behindHello((random) => {
        const bytes = several(random, () => random.pick(driver.frames))
        return bytes.subarray(0, random.int(bytes.length))
      }),
    ],
  ] as const) {
    test(`${name}: ${what}: no other connection is hurt`, async (t) => {
      const { served, witness, isServed } = await witnessed(t, driver)
      const random = new Random(freshSeed(t))
      for (let i = 0; i < STREAMS; i++) {
        const peer = await served.peer()
        peer.send(streamOf(random))
        await witness.ping()
        if (random.chance(0.5)) peer.end()
        else await served.passing(peer.leave())
      }
      await isServed()
    })
  }

  test(`${name}: an introduction that comes byte by byte is served`, async (t) => {
    const { served, isServed } = await witnessed(t, driver)
    const peer = await served.peer()
    for (const byte of driver.hellos[0]) {
      peer.send([byte])
      await turn()
    }
    t.is((await peer.read(1)).length, 1)
    await peer.leave()
    await isServed()
  })

  test(`${name}: a peer that takes too long to introduce itself is closed, others stay`, async (t) => {
    const { served, witness, isServed } = await witnessed(t, driver)
    const peer = await served.peer()
    const { clock } = served.host
    const before = clock.monotonic()
    for (const byte of driver.hellos[0].subarray(0, -1)) {
      if (peer.isClosed || clock.monotonic() - before > 60_000) break
      peer.send([byte])
      await witness.ping()
      await clock.advanceAsync(1_000)
    }
    await served.passing(peer.closed())
    t.true(clock.monotonic() - before <= 31_000)
    await isServed()
  })

  function behindHello(rest: (random: Random) => Buffer): (random: Random) => Buffer {
    return (random) => Buffer.concat([random.pick(driver.hellos), rest(random)])
  }
}

const several = (random: Random, one: () => Buffer): Buffer =>
  Buffer.concat(Array.from({ length: 1 + random.int(8) }, one))

function changed(random: Random, bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes)
  for (let left = 1 + random.int(4); left > 0; left--)
    copy[random.int(copy.length)] = random.int(256)
  return copy
}
