// A link is attached once, a container that wants to be alone is connected once, and no user takes
// the links of another.
import test, { type ExecutionContext } from 'ava'
import type { User } from '../../../src/access/known-users.ts'
import { type AmqpServerOptions, startAmqp } from '../../support/amqp/amqp-server.ts'
import {
  AMQP_HEADER,
  attachReceiver,
  attachSender,
  begin,
  type Came,
  conditionOf,
  connectRaw,
  flow,
  frame,
  handshake,
  type RawPeer,
  SASL_HEADER,
  saslFrame,
  source,
  transfer,
} from '../../support/amqp/raw-amqp.ts'
import { cheapHash } from '../../support/cheap-password.ts'

const user: User = {
  password: cheapHash('a'),
  admin: true,
  publish: [],
  consume: [],
  create: [],
}
const USERS: Readonly<Record<string, User>> = { alice: user, bob: user }

const grant = (handle: number, credit: number): Buffer =>
  flow({ handle, delivery_count: 0, link_credit: credit })

const named = (peer: RawPeer, name: string): Came[] =>
  peer.came().filter((one) => one.name === name)

const sole = (policy?: number): Record<string, unknown> => ({
  container_id: 'shop',
  desired_capabilities: ['sole-connection-for-container'],
  ...(policy !== undefined && { properties: { 'sole-connection-enforcement-policy': policy } }),
})

async function peers(
  t: ExecutionContext,
  count: number,
  options: AmqpServerOptions = {},
): Promise<RawPeer[]> {
  const { port } = await startAmqp(t, options)
  return Promise.all(Array.from({ length: count }, () => connectRaw(t, port)))
}

/** Header, PLAIN and open of a user. */
async function logIn(peer: RawPeer, name: string, open: Record<string, unknown>): Promise<void> {
  const initial_response = Buffer.from(`\0${name}\0a`)
  peer.send(SASL_HEADER, saslFrame('sasl_init', { mechanism: 'PLAIN', initial_response }))
  peer.send(AMQP_HEADER, frame('open', open))
  await peer.frame('open')
}

for (const [what, attach] of [
  ['receiver', attachReceiver],
  ['sender', attachSender],
] as const) {
  test(`a ${what} attached again on another connection is stolen from the first`, async (t) => {
    const [one, two] = (await peers(t, 2)) as [RawPeer, RawPeer]
    const link = { name: 'link' }
    one.send(handshake(), begin(), attach(0, 'orders', link))
    await one.frame('attach')
    two.send(handshake(), begin(), attach(5, 'orders', link))
    await two.frame('attach')
    t.is(conditionOf(await one.frame('detach')), 'amqp:link:stolen')
    t.is(named(two, 'detach').length, 0)
    one.send(frame('detach', { handle: 0, closed: true }), attach(0, 'orders', { name: 'other' }))
    await one.frame('attach', 2)
  })

  test(`a ${what} attached again on another session is stolen from the first`, async (t) => {
    const [peer] = (await peers(t, 1)) as [RawPeer]
    const second = attach(0, 'orders', { name: 'link' })
    second.writeUInt16BE(1, 6)
    peer.send(handshake(), begin(), attach(0, 'orders', { name: 'link' }), begin(1), second)
    await peer.frame('attach', 2)
    const detach = await peer.frame('detach')
    t.is(conditionOf(detach), 'amqp:link:stolen')
    t.is(detach.channel, named(peer, 'attach')[0]!.channel)
  })

  test(`a ${what} attached again on its session is stolen from its first handle`, async (t) => {
    const [peer] = (await peers(t, 1)) as [RawPeer]
    const link = { name: 'link' }
    peer.send(handshake(), begin(), attach(0, 'orders', link), attach(1, 'orders', link))
    await peer.frame('attach', 2)
    const detach = await peer.frame('detach')
    t.is(conditionOf(detach), 'amqp:link:stolen')
    t.is(detach.fields['handle'], named(peer, 'attach')[0]!.fields['handle'])
  })
}

test('one link name in two directions, or of two containers, is two links', async (t) => {
  const [one, two] = (await peers(t, 2)) as [RawPeer, RawPeer]
  const link = { name: 'link' }
  one.send(handshake(), begin(), attachSender(0, 'orders', link), attachReceiver(1, 'orders', link))
  two.send(handshake({ container_id: 'other' }), begin(), attachReceiver(0, 'orders', link))
  await one.frame('attach', 2)
  await two.frame('attach')
  one.send(flow({ echo: true }))
  await one.until(() => named(one, 'flow').find(({ fields }) => fields['handle'] == null))
  t.is(named(one, 'detach').length, 0)
})

test('what a stolen receiver had is there for the one that stole it', async (t) => {
  const [one, two] = (await peers(t, 2)) as [RawPeer, RawPeer]
  const link = { name: 'link' }
  one.send(handshake(), begin(), attachSender(0, 'orders'))
  await one.frame('flow')
  one.send(...[0, 1, 2].map((id) => transfer({ handle: 0, delivery_id: id })))
  one.send(attachReceiver(1, 'orders::g', link), grant(1, 10))
  await one.frame('transfer', 3)
  two.send(handshake(), begin(), attachReceiver(0, 'orders::g', link), grant(0, 10))
  await two.frame('transfer', 3)
  t.is(conditionOf(await one.frame('detach')), 'amqp:link:stolen')
})

test('a link that was given up is free', async (t) => {
  const [one, two] = (await peers(t, 2)) as [RawPeer, RawPeer]
  const attach = attachReceiver(0, 'orders', { name: 'link' })
  one.send(handshake(), begin(), attach, frame('detach', { handle: 0, closed: false }))
  await one.frame('detach')
  two.send(handshake(), begin(), attach)
  await two.frame('attach')
  t.is(conditionOf(named(one, 'detach')[0]!), undefined)
  t.is(named(one, 'detach').length, 1)
})

test('an attach that is refused steals nothing', async (t) => {
  const [one, two] = (await peers(t, 2)) as [RawPeer, RawPeer]
  one.send(handshake(), begin(), attachReceiver(0, 'orders', { name: 'link' }))
  await one.frame('attach')
  two.send(handshake(), begin(), attachReceiver(0, '/nodes/x', { name: 'link' }))
  await two.frame('detach')
  one.send(flow({ echo: true }))
  await one.frame('flow')
  t.is(named(one, 'detach').length, 0)
})

test('an attach that its subscription refuses steals nothing', async (t) => {
  const [one, two] = (await peers(t, 2)) as [RawPeer, RawPeer]
  const subscribe = (...capabilities: string[]): Buffer => {
    const wanted = { address: 'orders', durable: 2, expiry_policy: 'never', capabilities }
    return attachReceiver(0, '', { name: 'link', source: source(wanted) })
  }
  one.send(handshake(), begin(), subscribe('topic'))
  await one.frame('attach')
  two.send(handshake(), begin(), subscribe('topic', 'shared'))
  t.is(conditionOf(await two.frame('detach')), 'amqp:illegal-state')
  one.send(flow({ echo: true }))
  await one.frame('flow')
  t.is(named(one, 'detach').length, 0)
})

test("another user's link is not stolen: the attach is refused", async (t) => {
  const [one, two] = (await peers(t, 2, { users: USERS })) as [RawPeer, RawPeer]
  await logIn(one, 'alice', { container_id: 'shop' })
  await logIn(two, 'bob', { container_id: 'shop' })
  one.send(begin(), attachReceiver(0, 'orders', { name: 'link' }))
  await one.frame('attach')
  two.send(begin(), attachReceiver(0, 'orders', { name: 'link' }))
  t.is(conditionOf(await two.frame('detach')), 'amqp:resource-locked')
  one.send(flow({ echo: true }))
  await one.frame('flow')
  t.is(named(one, 'detach').length, 0)
})

test('a refusal fits into the frames of the peer, however much there is to say', async (t) => {
  const [one, two] = (await peers(t, 2, { users: USERS })) as [RawPeer, RawPeer]
  const open = { container_id: 'c'.repeat(300), max_frame_size: 512 }
  await logIn(one, 'alice', open)
  await logIn(two, 'bob', open)
  const attach = attachReceiver(0, 'orders', { name: 'n'.repeat(300) })
  one.send(begin(), attach)
  await one.frame('attach')
  two.send(begin(), attach)
  t.is(conditionOf(await two.frame('detach')), 'amqp:resource-locked')
  t.true(two.longest <= 512)
})

test('being the sole connection of a container is offered to those that desire it', async (t) => {
  const [one, two] = (await peers(t, 2)) as [RawPeer, RawPeer]
  const offered = async (peer: RawPeer, open: Record<string, unknown>): Promise<string> => {
    peer.send(handshake(open))
    return String((await peer.frame('open')).fields['offered_capabilities'])
  }
  t.true((await offered(one, sole())).includes('sole-connection-for-container'))
  t.false((await offered(two, { container_id: 'x' })).includes('sole-connection-for-container'))
})

for (const [what, first, second] of [
  ['the second desires it', { container_id: 'shop' }, sole()],
  ['the first desires it', sole(), { container_id: 'shop' }],
  ['both do', sole(), sole(0)],
  ['the first wants others refused and the second wants others closed', sole(), sole(1)],
] as const) {
  test(`a second connection of a container is refused when ${what}`, async (t) => {
    const [one, two] = (await peers(t, 2)) as [RawPeer, RawPeer]
    one.send(handshake(first))
    await one.frame('open')
    two.send(handshake(second))
    const open = await two.frame('open')
    const properties = open.fields['properties'] as Record<string, unknown>
    t.true(properties['amqp:connection-establishment-failed'])
    const close = await two.frame('close')
    t.is(conditionOf(close), 'amqp:invalid-field')
    t.like(close.fields['error'], { info: { 'invalid-field': 'container-id' } })
    await two.closed
    one.send(begin())
    await one.frame('begin')
  })
}

test('a second connection closes the first when it wants others closed', async (t) => {
  const [one, two] = (await peers(t, 2)) as [RawPeer, RawPeer]
  one.send(handshake({ container_id: 'shop' }))
  await one.frame('open')
  two.send(handshake(sole(1)), begin())
  const close = await one.frame('close')
  t.is(conditionOf(close), 'amqp:resource-locked')
  t.like(close.fields['error'], { info: { 'sole-connection-enforcement': true } })
  await two.frame('begin')
})

test("another user's connection is not closed: the second one is refused", async (t) => {
  const [one, two] = (await peers(t, 2, { users: USERS })) as [RawPeer, RawPeer]
  await logIn(one, 'alice', { container_id: 'shop' })
  await logIn(two, 'bob', sole(1))
  t.is(conditionOf(await two.frame('close')), 'amqp:invalid-field')
  one.send(begin())
  await one.frame('begin')
})

test('a container that has gone may come again', async (t) => {
  const [one, two] = (await peers(t, 2)) as [RawPeer, RawPeer]
  one.send(handshake(sole()), frame('close'))
  await one.frame('close')
  two.send(handshake(sole()), begin())
  await two.frame('begin')
  t.pass()
})
