// Subscriptions as JMS means them: what ends one, what begins it anew, and whose it is.
import test from 'ava'
import type { Receiver } from 'rhea'
import { UserStore } from '../../../../src/access/user-store.ts'
import { GroupMembers } from '../../../../src/gateway/amqp/links/presence.ts'
import { Subscriptions } from '../../../../src/gateway/amqp/links/subscriptions.ts'
import { silentLogger } from '../../../../src/log.ts'
import { Numbers } from '../../../../src/numbers/numbers.ts'
import { startAmqp } from '../../../support/amqp/amqp-server.ts'
import {
  attachReceiver,
  begin,
  conditionOf,
  connectRaw,
  frame,
  handshake,
  source,
} from '../../../support/amqp/raw-amqp.ts'
import {
  bodyText,
  connectRhea,
  next,
  type RheaReceiver,
} from '../../../support/amqp/rhea-client.ts'
import { codeOf, startBroker, stateIds } from '../../../support/broker.ts'
import { cheapHash } from '../../../support/cheap-password.ts'
import { overridden } from '../../../support/overridden.ts'
import { eventually } from '../../../support/waiting.ts'
import { publish, setup, texts } from '../receiving.ts'

const durable = (address = 'orders', more: object = {}): { name: string; source: object } => ({
  name: 'sub',
  source: { address, durable: 2, expiry_policy: 'never', capabilities: ['topic'], ...more },
})
const shared = { capabilities: ['topic', 'shared', 'global'] }

/** Detaches and keeps the subscription, as a JMS consumer's close does. */
async function leave({ link }: RheaReceiver): Promise<void> {
  const left = next(link as never, 'receiver_close')
  ;(link as Receiver & { detach(): void }).detach()
  await left
}

test('a detach keeps a durable subscription, a close ends it', async (t) => {
  const { broker, client } = await setup(t)
  await leave(await client.receiver(durable()))
  await publish(broker, 'orders', ['kept'])
  const again = await client.receiver(durable())
  t.is(bodyText((await again.accept(1))[0]!), 'kept')
  await publish(broker, 'orders', ['lost'])
  await again.detach()
  t.is((await broker.groups.list()).filter(({ name }) => name.endsWith('sub')).length, 0)
  const fresh = await client.receiver(durable())
  await publish(broker, 'orders', ['new'])
  t.is(bodyText((await fresh.accept(1))[0]!), 'new')
})

test('an attach without a source finds the subscription, and its close ends it', async (t) => {
  const { port, broker } = await startAmqp(t)
  const peer = await connectRaw(t, port)
  const subscribe = attachReceiver(0, '', {
    name: 'sub',
    source: source(durable().source as never),
  })
  const detach = (handle: number, closed: boolean): Buffer => frame('detach', { handle, closed })
  peer.send(handshake({ container_id: 'c' }), begin(), subscribe, detach(0, false))
  await peer.frame('detach')
  t.truthy(await broker.groups.get('c%2Esub'))
  const lookUp = (handle: number): Buffer =>
    attachReceiver(handle, '', { name: 'sub', source: null })
  peer.send(lookUp(1), detach(1, false))
  const found = await peer.frame('attach', 2)
  t.is((found.fields['source'] as { value: { value: unknown }[] }).value[0]?.value, 'orders')
  await peer.frame('detach', 2)
  t.truthy(await broker.groups.get('c%2Esub'))
  peer.send(lookUp(2), detach(2, true))
  await peer.frame('detach', 3)
  t.is(await broker.groups.get('c%2Esub'), undefined)
  peer.send(lookUp(3))
  const missing = await peer.frame('attach', 4)
  t.like(missing.fields['source'], { value: null })
  t.is(conditionOf(await peer.frame('detach', 4)), 'amqp:not-found')
})

test('no group ends by a name that only looks like a subscription', async (t) => {
  const { port, broker } = await startAmqp(t)
  await broker.groups.ensure('billing')
  const peer = await connectRaw(t, port)
  peer.send(handshake(), begin())
  peer.send(attachReceiver(0, '', { name: 'billing|global', source: null }))
  t.is(conditionOf(await peer.frame('detach')), 'amqp:not-found')
  t.truthy(await broker.groups.get('billing'))
})

test('a group that was there under the name does not end with the link', async (t) => {
  const { broker, client } = await setup(t)
  await broker.groups.ensure('billing')
  const link = await client.receiver({ ...durable('orders', shared), name: 'billing|global' })
  await link.detach()
  t.truthy(await broker.groups.get('billing'))
})

test('a subscription with consumers is not ended', async (t) => {
  const { port, client } = await setup(t)
  await client.receiver({ ...durable('orders', shared), name: 'sub|global' })
  const peer = await connectRaw(t, port)
  peer.send(handshake(), begin())
  peer.send(attachReceiver(0, '', { name: 'sub|global', source: null }))
  t.is(conditionOf(await peer.frame('detach')), 'amqp:resource-locked')
})

for (const [what, other] of [
  ['topic', durable('bills')],
  ['filter', durable('orders?tag=A')],
] as const) {
  test(`another ${what} under the name is another subscription: the old place is gone`, async (t) => {
    const { broker, client } = await setup(t)
    await leave(await client.receiver(durable()))
    await publish(broker, 'orders', ['before'])
    await leave(await client.receiver(other))
    const back = await client.receiver(durable())
    await publish(broker, 'orders', ['after'])
    t.is(bodyText((await back.accept(1))[0]!), 'after')
  })
}

test('a shared subscription in use keeps its topic', async (t) => {
  const { broker, client } = await setup(t)
  const one = await client.receiver({ ...durable('orders', shared), name: 'sub|global' })
  const other = { ...durable('bills', shared), name: 'sub|global2' }
  const error = await t.throwsAsync(client.receiver(other) as Promise<never>, { any: true })
  t.like(error, { condition: 'amqp:illegal-state' })
  await publish(broker, 'orders', ['x'])
  t.is((await one.accept(1)).length, 1)
})

test('a subscription whose group may not be made leaves nothing behind', async (t) => {
  const { broker, port } = await startAmqp(t, { broker: { autoCreateGroups: false } })
  const client = await connectRhea(t, port)
  await t.throwsAsync(client.receiver(durable()) as Promise<never>, { any: true })
  t.deepEqual(await stateIds(broker, 'amqp/'), [])
})

test('while nothing can be written, a new subscription is refused and leaves nothing, an old one goes on', async (t) => {
  let isFull = false
  const { broker, port } = await startAmqp(t, {
    wrap: (real) =>
      overridden(real, {
        status: async () => ({ ...(await real.status()), writable: !isFull }),
      }),
  })
  const client = await connectRhea(t, port)
  await leave(await client.receiver(durable()))
  const before = await stateIds(broker, 'amqp/')
  isFull = true
  const other = { ...durable(), name: 'other' }
  const error = await t.throwsAsync(client.receiver(other) as Promise<never>, { any: true })
  t.like(error, { condition: 'amqp:resource-limit-exceeded' })
  t.deepEqual(await stateIds(broker, 'amqp/'), before)
  await client.receiver(durable())
})

test('a shared and an unshared subscription of one name exclude each other', async (t) => {
  const { client } = await setup(t)
  await leave(await client.receiver(durable()))
  const other = durable('orders', { capabilities: ['topic', 'shared'] })
  const error = await t.throwsAsync(client.receiver(other) as Promise<never>, { any: true })
  t.like(error, { condition: 'amqp:illegal-state' })
})

test('a shared subscription that is not durable is gone with its last link', async (t) => {
  const { broker, client } = await setup(t)
  const at = (name: string): object => ({ name, source: { address: 'orders', ...shared } })
  const one = await client.receiver(at('sub|global-volatile1'))
  const two = await client.receiver(at('sub|global-volatile2'))
  await publish(broker, 'orders', ['a', 'b'])
  t.deepEqual(texts([...(await one.accept(1)), ...(await two.accept(1))]), ['a', 'b'])
  await one.detach()
  t.truthy(await broker.groups.get('sub%7cvolatile'))
  await two.detach()
  await eventually(async () => ((await broker.groups.get('sub%7cvolatile')) ? undefined : true))
  await publish(broker, 'orders', ['missed'])
  const three = await client.receiver(at('sub|global-volatile1'))
  await publish(broker, 'orders', ['c'])
  t.is(bodyText((await three.accept(1))[0]!), 'c')
})

test('a shared subscription that is not durable goes on when its only link is attached elsewhere', async (t) => {
  const { port, broker } = await startAmqp(t)
  const [client, other] = await Promise.all(
    [1, 2].map(() => connectRhea(t, port, { container_id: 'shop' })),
  )
  const link = { name: 'sub|global-volatile1', source: { address: 'orders', ...shared } }
  await client!.receiver(link)
  await publish(broker, 'orders', ['kept'])
  const second = await other!.receiver(link)
  t.deepEqual(texts(await second.accept(1)), ['kept'])
})

test('a link that attaches while its subscription ends has a subscription that can be ended', async (t) => {
  const { port } = await startAmqp(t)
  const [one, two] = [await connectRaw(t, port), await connectRaw(t, port)]
  const attach = (asked: object | null): Buffer =>
    attachReceiver(0, '', { name: 'sub', source: asked && source(asked as never) })
  const detach = (closed: boolean): Buffer => frame('detach', { handle: 0, closed })
  one.send(handshake(), begin(), attach(durable().source), detach(false), attach(null))
  two.send(handshake(), begin())
  await two.frame('begin')
  await one.frame('attach', 2)
  one.send(detach(true))
  two.send(attach(durable().source), detach(false), attach(null))
  await one.frame('detach', 2)
  const found = await two.frame('attach', 2)
  t.is((found.fields['source'] as { value: { value: unknown }[] }).value[0]?.value, 'orders')
})

test("a durable subscription is its user's own", async (t) => {
  const user = {
    password: cheapHash('p'),
    admin: true,
    publish: [],
    consume: [],
    create: [],
  }
  const { port } = await startAmqp(t, { users: { alice: user, bob: user } })
  const as = (username: string) =>
    connectRhea(t, port, { username, password: 'p', container_id: 'shop' })
  const alice = await as('alice')
  await leave(await alice.receiver(durable()))
  const bob = await as('bob')
  const error = await t.throwsAsync(bob.receiver(durable()) as Promise<never>, { any: true })
  t.like(error, { condition: 'amqp:unauthorized-access' })
})

test('a subscription without an owner, or whose user is no more, belongs to the next user that opens it', async (t) => {
  const { broker, clock } = await startBroker(t)
  const name = {
    containerId: 'c',
    group: 'c%2Esub',
    isShared: false,
    isGlobal: false,
    isDurable: true,
  }
  const selection = { topic: 'orders', filter: '*' }
  const none = { admin: true, publish: [], consume: [], create: [], password: undefined }
  const opens = async (users: Record<string, typeof none>, user?: string): Promise<string> => {
    const auth = new UserStore(users, clock)
    const context = { broker, auth, clock, log: silentLogger, numbers: new Numbers() }
    const subscriptions = new Subscriptions(context, new GroupMembers(broker.clients))
    const opened = codeOf(subscriptions.open(name, selection, auth.ownerOf(user)!, () => {}))
    await opened
    await broker.groups.ensure(name.group)
    return opened
  }
  const users = { alice: none, bob: none }
  t.is(await opens({}), 'no error')
  t.is(await opens(users, 'alice'), 'no error')
  t.is(await opens(users, 'bob'), 'PERMISSION_DENIED')
  t.is(await opens({ bob: none }, 'bob'), 'no error')
  t.is(await opens(users, 'alice'), 'PERMISSION_DENIED')
})
