// A session belongs to its user, and what is restored is authorized as if it were asked for now.
import test from 'ava'
import type { User } from '../../../../src/access/known-users.ts'
import type { BrokerError } from '../../../../src/errors.ts'
import { newMessage } from '../../../support/broker.ts'
import { cheapHash } from '../../../support/cheap-password.ts'
import {
  type CrashingMqtt,
  joined,
  nextPayload,
  payloadsUntil,
  startCrashingMqtt,
  type Users,
} from '../../../support/mqtt/mqtt-crash.ts'
import { startMqttOver } from '../../../support/mqtt/mqtt-over-broker.ts'
import {
  type ConnectShape,
  DISCONNECT,
  PINGREQ,
  PINGRESP,
  publish,
  subscribe,
} from '../../../support/mqtt/mqtt-packets.ts'
import type { RawPeer } from '../../../support/peers/raw-peer.ts'
import { eventually } from '../../../support/waiting.ts'

const password = cheapHash('pw')
const user = (grants: Partial<User> = {}): User => ({
  ...{ admin: false, publish: [], consume: [], create: [], password },
  ...grants,
})
const EVERYTHING = { publish: ['*'], consume: ['*'], create: ['*'] }
const ALL: Users = { root: user({ admin: true }), alice: user(EVERYTHING), bob: user(EVERYTHING) }

const as = (username: string, shape: ConnectShape = {}): ConnectShape => ({
  ...{ clean: false, username, password: 'pw' },
  ...shape,
})

/** Of MQTT 5: lives an hour. */
const STAYS = Buffer.of(0x11, 0, 0, 0x0e, 0x10)

async function subscribed(peer: RawPeer, filter: string, id = 1): Promise<number> {
  peer.send(subscribe(id, [[filter, 1]]))
  const { first, body } = await peer.readPacket()
  // A message that must not come must not pass for the answer.
  if (first !== 0x90) throw new Error(`0x${first.toString(16)} came instead of SUBACK`)
  return body[2]!
}

/** Sent by the administrator under a client id of its own, and stored. */
async function send({ port }: CrashingMqtt, topic: string, payload: string): Promise<void> {
  const { peer } = await joined(port, 'root', as('root', { clean: true }))
  peer.send(publish(topic, payload, { qos: 1 }))
  await peer.readPacket()
  peer.end()
}

const events = ({ log }: CrashingMqtt, evt: string) => log.lines.filter((line) => line.evt === evt)

for (const version of [3, 4, 5] as const) {
  for (const clean of [false, true]) {
    test(`version ${version}, clean start ${Number(clean)}: the session of another user is refused and goes on`, async (t) => {
      const mqtt = await startCrashingMqtt(t, ALL)
      const properties = version === 5 ? { properties: STAYS } : {}
      const will = { topic: 'will', payload: 'alice is gone' }
      const shape = { version, ...properties, will }
      const { peer: watcher } = await joined(mqtt.port, 'watcher', as('root'))
      await subscribed(watcher, '#')
      const { peer: alice } = await joined(mqtt.port, 'device', as('alice', shape))
      for (const thief of ['bob', 'root']) {
        const asked = as(thief, { version, clean, ...properties })
        const { peer, code } = await joined(mqtt.port, 'device', asked)
        t.is(code, version === 5 ? 0x87 : 5, thief)
        await peer.closed()
      }
      alice.send(PINGREQ)
      t.deepEqual(await alice.read(2), PINGRESP)
      t.like(events(mqtt, 'mqtt.session_of_another'), [
        { clientId: 'device', owner: 'alice', user: 'bob' },
      ])
      t.is(events(mqtt, 'mqtt.session_of_another').length, 1, 'one line for both')
      alice.send(DISCONNECT)
      await alice.closed()
      await send(mqtt, 'end', 'end')
      t.deepEqual(await payloadsUntil(watcher, 'end'), [], 'no will')
      const { present, code } = await joined(mqtt.port, 'device', as('alice', shape))
      // MQTT 3.1 has no flag for it.
      t.deepEqual([present, code], [version !== 3, 0])
    })
  }
}

test('what a session waits for is its own, also after a restart', async (t) => {
  const first = await startCrashingMqtt(t, ALL)
  const { peer } = await joined(first.port, 'device', as('alice'))
  await subscribed(peer, '$share/g/jobs/+')
  await subscribed(peer, 'news/+')
  peer.end()
  await send(first, 'jobs/1', 'job')
  await send(first, 'news/1', 'news')
  const mqtt = await first.restart()
  for (const clean of [false, true]) {
    const { code } = await joined(mqtt.port, 'device', as('bob', { clean }))
    t.is(code, 5)
  }
  const { peer: back, present } = await joined(mqtt.port, 'device', as('alice'))
  t.true(present)
  t.deepEqual([await nextPayload(back), await nextPayload(back)].sort(), ['job', 'news'])
})

test('a session that ends with its connection is its user’s while that lasts', async (t) => {
  const mqtt = await startCrashingMqtt(t, ALL)
  const { peer } = await joined(mqtt.port, 'device', as('alice', { clean: true }))
  t.is((await joined(mqtt.port, 'device', as('bob', { clean: true }))).code, 5)
  peer.send(DISCONNECT)
  await peer.closed()
  t.is((await joined(mqtt.port, 'device', as('bob', { clean: true }))).code, 0)
})

test('with mqtt.usernameAsClientId no user can have the client id of another', async (t) => {
  const mqtt = { usernameAsClientId: true }
  const { port } = await startMqttOver(t, { users: ALL, mqtt })
  const { peer: bob } = await joined(port, 'alice', as('bob'))
  const { peer: alice, code } = await joined(port, 'anything', as('alice'))
  t.is(code, 0)
  bob.send(PINGREQ)
  t.deepEqual(await bob.read(2), PINGRESP)
  const { peer: again, present } = await joined(port, '', as('alice'))
  t.true(present, 'one session for the user, whatever id it asks for')
  await alice.closed()
  for (const peer of [bob, again]) peer.end()
})

test('a user takes over from its own connection', async (t) => {
  const mqtt = await startCrashingMqtt(t, ALL)
  const { peer: old } = await joined(mqtt.port, 'device', as('alice'))
  t.true((await joined(mqtt.port, 'device', as('alice'))).present)
  await old.closed()
})

test('a session without an owner belongs to the first user that asks for it', async (t) => {
  const open = await startCrashingMqtt(t)
  const { peer: nobody } = await joined(open.port, 'device', { clean: false })
  await subscribed(nobody, 'a')
  const mqtt = await open.restart(ALL)
  const { peer, present } = await joined(mqtt.port, 'device', as('alice'))
  t.true(present)
  peer.end()
  const again = await mqtt.restart(ALL)
  t.is((await joined(again.port, 'device', as('bob'))).code, 5)
})

test('a session whose user is no more belongs to the next user that asks for it', async (t) => {
  const first = await startCrashingMqtt(t, ALL)
  const { peer } = await joined(first.port, 'device', as('alice'))
  await subscribed(peer, 'open/+')
  const { alice: _, ...others } = ALL
  const mqtt = await first.restart(others)
  const { present, code } = await joined(mqtt.port, 'device', as('bob'))
  t.deepEqual([present, code], [true, 0])
})

test('a filter whose grant is gone brings nothing and is reported; what is still granted goes on', async (t) => {
  const first = await startCrashingMqtt(t, ALL)
  for (const topic of ['secret', 'open']) await first.broker.topics.ensure(topic)
  const { peer } = await joined(first.port, 'device', as('alice'))
  for (const filter of ['secret/+', 'open/+', '#']) await subscribed(peer, filter)
  peer.end()
  await send(first, 'secret/1', 'secret')
  await send(first, 'open/1', 'open')
  const mqtt = await first.restart({ ...ALL, alice: user({ consume: ['open', 'MQTT'] }) })
  const { peer: back, present } = await joined(mqtt.port, 'device', as('alice'))
  t.true(present)
  await send(mqtt, 'secret/2', 'secret')
  await send(mqtt, 'end', 'end')
  t.deepEqual(await payloadsUntil(back, 'end'), ['open'])
  t.like(events(mqtt, 'mqtt.filters_withheld'), [
    { clientId: 'device', user: 'alice', count: 1, filters: ['secret/+'] },
  ])
  t.is(await subscribed(back, 'secret/+'), 0x80, 'asked for again it is refused')
})

test('what is in flight is not sent again to a user that may not have it any more', async (t) => {
  const first = await startCrashingMqtt(t, ALL)
  await first.broker.topics.ensure('secret')
  const { peer } = await joined(first.port, 'device', as('alice'))
  await subscribed(peer, 'secret/+')
  await send(first, 'secret/1', 'secret')
  t.is((await peer.readPacket()).first, 0x32, 'sent and not acknowledged')
  await first.clock.advanceAsync(1_000)
  const mqtt = await first.restart({ ...ALL, alice: user({ consume: ['MQTT'] }) })
  const { peer: back } = await joined(mqtt.port, 'device', as('alice'))
  await subscribed(back, 'end')
  await send(mqtt, 'end', 'end')
  t.deepEqual(await payloadsUntil(back, 'end'), [])
})

for (const [what, grants] of [
  ['topic', { consume: ['g', 'MQTT'] }],
  ['group', { consume: ['jobs', 'MQTT'] }],
] as const) {
  test(`a member whose grant for the ${what} is gone takes nothing from its group`, async (t) => {
    const first = await startCrashingMqtt(t, ALL)
    await first.broker.topics.ensure('jobs')
    const { peer } = await joined(first.port, 'device', as('alice'))
    await subscribed(peer, '$share/g/jobs/#')
    peer.end()
    await send(first, 'jobs/1', 'one')
    const mqtt = await first.restart({ ...ALL, alice: user(grants) })
    const { peer: back } = await joined(mqtt.port, 'device', as('alice'))
    await subscribed(back, 'end')
    await send(mqtt, 'jobs/2', 'two')
    await send(mqtt, 'end', 'end')
    t.deepEqual(await payloadsUntil(back, 'end'), [])
    t.deepEqual(await mqtt.broker.clients.consumerIds('g'), [], 'it is no member')
    const { peer: other } = await joined(mqtt.port, 'other', as('bob'))
    await subscribed(other, '$share/g/jobs/#')
    t.deepEqual([await nextPayload(other), await nextPayload(other)].sort(), ['one', 'two'])
  })
}

test('a topic made later that a member may not read stays for members that may', async (t) => {
  const mqtt = await startCrashingMqtt(t, { ...ALL, alice: user({ consume: ['MQTT', 'g'] }) })
  const { peer: alice } = await joined(mqtt.port, 'device', as('alice'))
  t.is(await subscribed(alice, '$share/g/secret/+'), 1)
  await mqtt.broker.topics.ensure('secret')
  await mqtt.broker.publish([newMessage('secret', { body: 'for bob', tag: '1' })])
  while (events(mqtt, 'mqtt.filters_withheld').length === 0) {
    alice.send(PINGREQ)
    t.deepEqual(await alice.read(2), PINGRESP)
  }
  const { peer: bob } = await joined(mqtt.port, 'other', as('bob'))
  t.is(await subscribed(bob, '$share/g/secret/+'), 1)
  t.is(await nextPayload(bob), 'for bob')
})

test('a member that begins anew, as the topic is gone, leaves no queue behind', async (t) => {
  const mqtt = await startCrashingMqtt(t, { ...ALL, alice: user({ consume: ['MQTT', 'g'] }) })
  const { broker } = mqtt
  const { peer: alice } = await joined(mqtt.port, 'passing', as('alice', { clean: true }))
  t.is(await subscribed(alice, '$share/g/secret/+'), 1)
  await broker.topics.ensure('secret')
  await broker.publish([newMessage('secret', { body: 'for bob', tag: '1' })])
  while (events(mqtt, 'mqtt.filters_withheld').length === 0) {
    alice.send(PINGREQ)
    t.deepEqual(await alice.read(2), PINGRESP)
  }
  await broker.topics.delete('secret')
  t.is(await subscribed(alice, '$share/g/secret/+', 2), 1)
  alice.end()
  const queue = { topic: '%LMQ%secret/+', brokerName: broker.identity.brokerName, queueId: 0 }
  await eventually(async () =>
    broker.cursors.range(queue).then(
      () => undefined,
      (error: BrokerError) => error.code === 'TOPIC_NOT_FOUND' || undefined,
    ),
  )
  t.pass()
})

test('a will is authorized when it is sent', async (t) => {
  const first = await startCrashingMqtt(t, ALL)
  const will = { topic: 'w', payload: 'will', flags: 0x20 }
  await joined(first.port, 'device', as('alice', { will }))
  await joined(first.port, 'ends', as('alice', { will, clean: true }))
  const mqtt = await first.restart({ ...ALL, alice: user({ consume: ['*'] }) })
  const { peer: watcher } = await joined(mqtt.port, 'watcher', as('root'))
  await subscribed(watcher, '#')
  await mqtt.clock.advanceAsync(1_000)
  await send(mqtt, 'end', 'end')
  t.deepEqual(await payloadsUntil(watcher, 'end'), [])
  const lost = events(mqtt, 'mqtt.will_lost')
  t.deepEqual(lost.map(({ clientId }) => clientId).sort(), ['device', 'ends'])
  const again = await mqtt.restart(ALL)
  await again.clock.advanceAsync(1_000)
  t.deepEqual(await again.broker.states.load('mqtt/session/ends'), undefined)
  const { peer: late } = await joined(again.port, 'late', as('root'))
  await subscribed(late, 'w')
  await subscribed(late, 'end')
  await send(again, 'end', 'end')
  t.deepEqual(await payloadsUntil(late, 'end'), [], 'it is not kept for better times')
})
