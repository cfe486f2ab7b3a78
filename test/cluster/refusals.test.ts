// A gateway before two brokers that refuse: each refusal is told at the doors, costs what it is
// about and nothing more. And one client id that connects to two gateways at once.
import test, { type ExecutionContext } from 'ava'
import { PERM_READ, PERM_READ_WRITE, PERM_WRITE } from '../../src/model/topic.ts'
import { amqp } from '../conformance/gateway/drivers/amqp.ts'
import { mqtt } from '../conformance/gateway/drivers/mqtt.ts'
import { topicOf } from '../support/broker.ts'
import { ack, connect, subscribe } from '../support/mqtt/mqtt-packets.ts'
import { RawPeer } from '../support/peers/raw-peer.ts'
import { startServer } from '../support/server.ts'
import { eventually } from '../support/waiting.ts'

/** Take-overs of one client id. */
const TAKEN = 20

const DOORS = [
  [mqtt(4), 'mqtt'],
  [mqtt(5), 'mqtt'],
  [amqp, 'amqp'],
] as const

async function cluster(t: ExecutionContext) {
  const first = await startServer(t)
  const nameServers = [first.address('nameServer')]
  const broker = { name: 'broker-b', nameServers }
  const second = await startServer(t, { role: 'broker', config: { broker } })
  const brokers = [first, second].map(({ server }) => server.broker()!)
  const make = async (name: string, perm = PERM_READ_WRITE): Promise<void> => {
    await Promise.all(brokers.map(({ topics }) => topics.put({ ...topicOf(name, 1), perm })))
  }
  /** A client whose message no broker takes in time is let go, to send it again. */
  const gateway = (publishTimeoutMs = 3_000) =>
    startServer(t, {
      role: 'gateway',
      config: { cluster: { nameServers, publishTimeoutMs } },
    })
  return { brokers, make, gateway }
}

for (const [driver, door] of DOORS) {
  test(`${driver.name}: a topic that may not be written refuses, and others take`, async (t) => {
    const { make, gateway } = await cluster(t)
    await make('open')
    await make('closed', PERM_READ)
    const { port } = await gateway()
    const client = await driver.connect(t, port(door))
    const reader = await client.reader('open', 'readers')
    const sender = await driver.connect(t, port(door))
    t.not(await sender.send('closed', 'a'), 'accepted')
    t.is(await client.send('open', 'b'), 'accepted')
    t.is((await reader.take()).body.toString(), 'b')
  })

  test(`${driver.name}: a broker that is read-only keeps no message from the other`, async (t) => {
    const { brokers, make, gateway } = await cluster(t)
    await make('orders')
    const { port } = await gateway()
    const [client, other] = [
      await driver.connect(t, port(door)),
      await driver.connect(t, port(door)),
    ]
    // The route is known, and stays as it was for a while.
    t.is(await client.send('orders', 'before'), 'accepted')
    await brokers[0]!.permission.set(PERM_READ)
    for (let i = 0; i < 5; i++) t.is(await client.send('orders', `${i}`), 'accepted')
    await brokers[1]!.permission.set(PERM_READ)
    t.not(await other.send('orders', 'nowhere'), 'accepted')
    await brokers[0]!.permission.set(PERM_READ_WRITE)
    await brokers[1]!.permission.set(PERM_READ_WRITE)
    const again = async (): Promise<boolean> =>
      (await (await driver.connect(t, port(door))).send('orders', 'again')) === 'accepted'
    await eventually(async () => (await again().catch(() => false)) || undefined)
  })
}

test('AMQP 1.0: a topic that may not be read has no readers', async (t) => {
  const { make, gateway } = await cluster(t)
  await make('blind', PERM_WRITE)
  const { port } = await gateway()
  const client = await amqp.connect(t, port('amqp'))
  const reading = client.reader('blind', 'readers').then((reader) => reader.take())
  await t.throwsAsync(reading, { any: true })
})

for (const version of [4, 5] as const) {
  test(`version ${version}: a topic that may not be read is refused in SUBACK to a group`, async (t) => {
    const { make, gateway } = await cluster(t)
    await make('blind', PERM_WRITE)
    await make('open')
    const { port } = await gateway()
    const peer = await RawPeer.connect(port('mqtt'))
    t.teardown(() => peer.end())
    peer.send(connect('one', { version }))
    await peer.readPacket()
    const filters = ['$share/g/blind/#', '$share/g/open/#', '$share/g/blind/+/deep']
    peer.send(
      subscribe(
        1,
        filters.map((filter) => [filter, 1] as const),
        version,
      ),
    )
    const refused = version === 5 ? 0x87 : 0x80
    const { body } = await peer.readPacket()
    t.deepEqual([...body.subarray(-3)], [refused, 1, refused])
  })
}

test('a session whose broker takes no writes is refused as unavailable, a clean one goes on', async (t) => {
  const { brokers, gateway } = await cluster(t)
  const { port } = await gateway()
  for (const { permission } of brokers) await permission.set(PERM_READ)
  const answer = async (clean: boolean): Promise<number> => {
    const peer = await RawPeer.connect(port('mqtt'))
    t.teardown(() => peer.end())
    const properties = clean ? Buffer.alloc(0) : Buffer.of(0x11, 0, 0, 0, 60)
    peer.send(connect('one', { version: 5, clean, properties }))
    return (await peer.readPacket()).body[1]!
  }
  t.deepEqual([await answer(false), await answer(true)], [0x88, 0])
})

test('a client id that two gateways fight over has one connection, and misses nothing', async (t) => {
  const { make, gateway } = await cluster(t)
  await make('news')
  const ports = [await gateway(60_000), await gateway(60_000)].map(({ port }) => port('mqtt'))
  const properties = Buffer.of(0x11, 0, 0, 0x0e, 0x10)
  const open: { peer: RawPeer; isKicked: boolean }[] = []
  const got: string[] = []
  let next = 0
  let taken = 0
  const publisher = await mqtt(5).connect(t, ports[0]!)
  const enter = async (port: number): Promise<RawPeer> => {
    const peer = await RawPeer.connect(port)
    t.teardown(() => peer.end())
    peer.send(connect('one', { version: 5, clean: false, properties }))
    const { body } = await peer.readPacket()
    t.is(body[1], 0)
    return peer
  }
  const subscriber = await enter(ports[0]!)
  subscriber.send(subscribe(1, [['news/#', 1]], 5))
  await subscriber.readPacket()
  subscriber.end()

  /** What comes until the other connection has taken the session. */
  const serve = async (mine: (typeof open)[number]): Promise<void> => {
    for (;;) {
      const { first, body } = await mine.peer.readPacket()
      if (first >> 4 === 14) {
        t.is(body[0], 0x8e)
        mine.isKicked = true
        return
      }
      if (first >> 4 !== 3) continue
      const at = 2 + body.readUInt16BE(0)
      got.push(body.subarray(at + 3 + body[at + 2]!).toString())
      mine.peer.send(ack('puback', body.readUInt16BE(at)))
    }
  }
  let isOver = false
  t.teardown(() => {
    isOver = true
  })
  const attend = async (port: number): Promise<void> => {
    while (taken < TAKEN && !isOver) {
      // It may be overtaken before it is answered.
      const peer = await enter(port).catch(() => undefined)
      if (peer === undefined) continue
      const mine = { peer, isKicked: false }
      taken++
      open.push(mine)
      t.is(await publisher.send('news/a', `${next++}`), 'accepted')
      const serving = serve(mine).catch(() => {})
      if (taken >= TAKEN) return
      await serving
    }
  }
  await Promise.all(ports.map(attend))
  await eventually(async () => open.filter(({ isKicked }) => !isKicked).length === 1 || undefined)
  t.is(await publisher.send('news/a', `${next++}`), 'accepted')
  const wanted = Array.from({ length: next }, (_, n) => `${n}`)
  await eventually(async () => wanted.every((text) => got.includes(text)) || undefined)
})
