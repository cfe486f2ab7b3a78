// Logins by AUTH packets: an unmodified mqtt.js, and packets by hand.
import test, { type ExecutionContext } from 'ava'
import mqtt, { type MqttClient } from 'mqtt'
import { makeScramKeys, scramText } from '../../../src/access/secrets/scram-keys.ts'
import { cheapHash } from '../../support/cheap-password.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { startMqtt } from '../../support/mqtt/mqtt.ts'
import { connect, DISCONNECT, frame, str, u16, varint } from '../../support/mqtt/mqtt-packets.ts'
import { RawPeer } from '../../support/peers/raw-peer.ts'
import { ScramClient } from '../../support/peers/scram-client.ts'

const METHOD = 'SCRAM-SHA-256'
const PASSWORD = 'correct horse'

const usersOf = async () => {
  const scram = scramText(await makeScramKeys(PASSWORD))
  const bob = { password: cheapHash(PASSWORD) }
  return { ann: { scram, publish: ['MQTT'] }, bob, cat: { scram } }
}

/** mqtt.js takes the answer to a challenge from `handleAuth`. */
function logIn(
  t: ExecutionContext,
  port: number,
  scram: ScramClient,
  username?: string,
): MqttClient {
  const client = mqtt.connect({
    ...{ host: '127.0.0.1', port, protocolVersion: 5, reconnectPeriod: 0 },
    ...(username !== undefined && { username }),
    properties: { authenticationMethod: METHOD, authenticationData: scram.first },
    manualConnect: true,
  })
  t.teardown(() => client.end(true))
  client.handleAuth = (packet, answer) => {
    const { authenticationData } = packet.properties!
    const properties = {
      authenticationMethod: METHOD,
      authenticationData: scram.final(authenticationData!),
    }
    answer(undefined, { cmd: 'auth', reasonCode: 0x18, properties })
  }
  client.on('error', () => {})
  client.connect()
  return client
}

test('mqtt.js logs in, is told the proof of the server, and has the rights of its user', async (t) => {
  const { port } = await startMqtt(t, { config: { users: await usersOf() } })
  const scram = new ScramClient('ann', PASSWORD)
  const client = logIn(t, port, scram)
  const connack = await new Promise<mqtt.IConnackPacket>((resolve) =>
    client.once('connect', resolve),
  )
  t.is(connack.reasonCode, 0)
  const { authenticationMethod, authenticationData } = connack.properties!
  t.is(authenticationMethod, METHOD)
  t.is(String(authenticationData), scram.serverFinal)
  await t.notThrowsAsync(client.publishAsync('plant/7', 'x', { qos: 1 }))
  const other = logIn(t, port, new ScramClient('cat', PASSWORD))
  await t.throwsAsync(other.publishAsync('plant/7', 'x', { qos: 1 }), { message: /Not authorized/ })
})

for (const [what, user, password, username] of [
  ['a wrong password', 'ann', 'wrong', undefined],
  ['an unknown user', 'eve', PASSWORD, undefined],
  ['a user without keys for SCRAM', 'bob', PASSWORD, undefined],
  ['another user name in CONNECT', 'ann', PASSWORD, 'bob'],
] as const) {
  test(`${what} gets CONNACK 0x86 and no session`, async (t) => {
    const { port } = await startMqtt(t, { config: { users: await usersOf() } })
    const client = logIn(t, port, new ScramClient(user, password), username)
    const error = await new Promise<object>((resolve) => client.once('error', resolve))
    t.like(error, { code: 0x86 })
  })
}

const property = (id: number, bytes: Buffer): Buffer => Buffer.concat([Buffer.of(id), bytes])
const withLength = (bytes: Buffer): Buffer => Buffer.concat([u16(bytes.length), bytes])
const propertiesOf = (data: Buffer, method = METHOD): Buffer =>
  Buffer.concat([property(0x15, str(method)), property(0x16, withLength(data))])
const auth = (reason: number, data: Buffer, method = METHOD): Buffer => {
  const section = propertiesOf(data, method)
  return frame(0xf0, Buffer.of(reason), varint(section.length), section)
}
const begin = (scram: ScramClient, method = METHOD): Buffer =>
  connect('c1', { version: 5, properties: propertiesOf(scram.first, method) })

/** The challenge of an AUTH, behind its method. */
const dataOf = (packet: Buffer): Buffer => {
  const at = packet.indexOf(METHOD) + METHOD.length
  return packet.subarray(at + 3, at + 3 + packet.readUInt16BE(at + 1))
}

/** The first byte and the reason code of what comes next. */
async function nextOf(peer: RawPeer, reasonAt: number): Promise<readonly [number, number]> {
  const { first, body } = await peer.readPacket()
  return [first, body[reasonAt]!]
}

async function connectTo(t: ExecutionContext, port: number): Promise<RawPeer> {
  const peer = await RawPeer.connect(port)
  t.teardown(() => peer.end())
  return peer
}

test('another method gets CONNACK 0x8C, and so does any where there are no users', async (t) => {
  const { port } = await startMqtt(t, { config: { users: await usersOf() } })
  const peer = await connectTo(t, port)
  peer.send(begin(new ScramClient('ann', PASSWORD), 'GS2-KRB5'))
  t.deepEqual(await nextOf(peer, 1), [0x20, 0x8c])
  const open = await connectTo(t, (await startMqtt(t)).port)
  open.send(begin(new ScramClient('ann', PASSWORD)))
  t.deepEqual(await nextOf(open, 1), [0x20, 0x8c])
})

for (const [what, packet] of [
  ['a PINGREQ', Buffer.of(0xc0, 0)],
  ['a second CONNECT', connect('c2', { version: 5 })],
  ['an AUTH of another method', auth(0x18, Buffer.from('x'), 'PLAIN')],
  ['an AUTH that begins anew', auth(0x19, Buffer.from('x'))],
] as const) {
  test(`in the place of the proof ${what} is a protocol error`, async (t) => {
    const { port } = await startMqtt(t, { config: { users: await usersOf() } })
    const peer = await connectTo(t, port)
    peer.send(begin(new ScramClient('ann', PASSWORD)))
    t.deepEqual(await nextOf(peer, 0), [0xf0, 0x18])
    peer.send(packet)
    t.deepEqual(await nextOf(peer, 1), [0x20, 0x82])
    await peer.closed()
  })
}

test('a client that never proves itself is cut off in the time of CONNECT', async (t) => {
  const clock = new FakeClock()
  const { port } = await startMqtt(t, {
    config: { users: await usersOf() },
    mqtt: { connectTimeoutMs: 1_000 },
    clock,
  })
  const peer = await connectTo(t, port)
  peer.send(begin(new ScramClient('ann', PASSWORD)))
  t.deepEqual(await nextOf(peer, 0), [0xf0, 0x18])
  clock.advance(2_000)
  await peer.closed()
  t.pass()
})

test('a client proves its user anew, and as another it is disconnected', async (t) => {
  const users = await usersOf()
  const { port } = await startMqtt(t, { config: { users: { ...users, eve: users.ann } } })
  const peer = await connectTo(t, port)
  const first = new ScramClient('ann', PASSWORD)
  peer.send(begin(first))
  peer.send(auth(0x18, first.final(dataOf((await peer.readPacket()).body))))
  t.deepEqual(await nextOf(peer, 1), [0x20, 0])
  for (const [name, ending] of [
    ['ann', [0xf0, 0]],
    ['eve', [0xe0, 0x87]],
  ] as const) {
    const again = new ScramClient(name, PASSWORD)
    peer.send(auth(0x19, again.first))
    peer.send(auth(0x18, again.final(dataOf((await peer.readPacket()).body))))
    t.deepEqual(await nextOf(peer, 0), ending)
  }
  await peer.closed()
})

test('a client may leave in the middle of its login', async (t) => {
  const { port } = await startMqtt(t, { config: { users: await usersOf() } })
  const peer = await connectTo(t, port)
  peer.send(begin(new ScramClient('ann', PASSWORD)))
  await peer.readPacket()
  peer.send(DISCONNECT)
  t.is((await peer.closed()).length, 0)
})
