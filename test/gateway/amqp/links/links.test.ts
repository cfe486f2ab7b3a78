// The links of a connection: how they are attached, what they tell, and what is kept for them.
import test, { type ExecutionContext } from 'ava'
import { BrokerError } from '../../../../src/errors.ts'
import {
  UNSETTLED_PER_CONNECTION_MAX,
  UNSETTLED_PER_CONNECTION_RESUMED,
} from '../../../../src/gateway/amqp/limits.ts'
import type { SenderLink, Unsettled } from '../../../../src/gateway/amqp/links/sender-link.ts'
import { UnsettledBudget } from '../../../../src/gateway/amqp/links/unsettled-budget.ts'
import { UnsettledMap } from '../../../../src/gateway/amqp/links/unsettled-map.ts'
import type { Receipt } from '../../../../src/model/message.ts'
import type { Broker } from '../../../../src/port/broker.ts'
import { startAmqp } from '../../../support/amqp/amqp-server.ts'
import {
  attachReceiver,
  attachSender,
  begin,
  type Came,
  conditionOf,
  connectRaw,
  encoded,
  flow,
  frame,
  handshake,
  type RawPeer,
  source,
  target,
  transfer,
} from '../../../support/amqp/raw-amqp.ts'
import { overridden } from '../../../support/overridden.ts'
import { eventually } from '../../../support/waiting.ts'
import { rheaTypes as types } from '../codec/values.ts'

// How a peer's attach is answered.

/** The value of a terminus' fields that were not null. */
function terminus(came: Came, name: 'source' | 'target'): Record<number, unknown> {
  const { value } = came.fields[name] as { value: { value: unknown }[] | null }
  const fields = (value ?? []).map((field) => plain(field))
  return Object.fromEntries(Object.entries(fields).filter(([, field]) => field !== null))
}

function plain(field: { value: unknown; descriptor?: { value: unknown } }): unknown {
  const { value, descriptor } = field
  const inner = Array.isArray(value) ? value.map((one) => plain(one as never)) : value
  return descriptor === undefined ? inner : { [String(descriptor.value)]: inner }
}

const OUTCOMES = ['accepted', 'rejected', 'released', 'modified'].map((name) => `amqp:${name}:list`)
const MODIFIED_AS_FAILED = { 39: [true] }

test('a source says what it is: what was asked, and what holds where nothing was', async (t) => {
  const { port } = await startAmqp(t)
  const peer = await connectRaw(t, port)
  const full = source({
    address: 'orders::billing',
    durable: 2,
    expiry_policy: 'never',
    timeout: 77,
    dynamic: false,
    distribution_mode: 'move',
    filter: { tags: types.described(types.wrap_symbol('rmq:tags'), types.wrap_string('A')) },
    default_outcome: types.described(types.wrap_ulong(0x26), types.List8([])),
    outcomes: ['amqp:accepted:list', 'amqp:modified:list'],
    capabilities: ['queue', 'unheard-of'],
  })
  peer.send(handshake(), begin(), attachReceiver(0, '', { source: full }))
  t.deepEqual(terminus(await peer.frame('attach'), 'source'), {
    0: 'orders::billing',
    1: 2,
    2: 'never',
    3: 77,
    4: false,
    6: 'move',
    7: ['tags', { 'rmq:tags': 'A' }],
    8: { 38: [] },
    9: ['amqp:accepted:list', 'amqp:modified:list'],
    10: ['queue'],
  })
  peer.send(attachReceiver(1, 'orders::billing'))
  t.deepEqual(terminus(await peer.frame('attach', 2), 'source'), {
    0: 'orders::billing',
    4: false,
    6: 'move',
    8: MODIFIED_AS_FAILED,
    9: OUTCOMES,
  })
})

test('a source read by position keeps nothing, and says so', async (t) => {
  const { port } = await startAmqp(t)
  const peer = await connectRaw(t, port)
  const asked = source({ address: '/topics/orders/broadcast', durable: 2, expiry_policy: 'never' })
  peer.send(handshake(), begin(), attachReceiver(0, '', { source: asked }))
  t.deepEqual(terminus(await peer.frame('attach'), 'source'), {
    0: '/topics/orders/broadcast',
    1: 0,
    2: 'link-detach',
    3: 0,
    4: false,
    6: 'copy',
    8: MODIFIED_AS_FAILED,
    9: OUTCOMES,
  })
})

test('a target says what it is', async (t) => {
  const { port } = await startAmqp(t)
  const peer = await connectRaw(t, port)
  const asked = target({
    address: 'orders',
    durable: 2,
    expiry_policy: 'connection-close',
    timeout: 5,
    capabilities: ['topic', 'unheard-of'],
  })
  peer.send(handshake(), begin(), attachSender(0, '', { target: asked }))
  t.deepEqual(terminus(await peer.frame('attach'), 'target'), {
    0: 'orders',
    1: 1,
    2: 'connection-close',
    3: 5,
    4: false,
    6: ['topic'],
  })
})

test("the peer's own terminus comes back as it came, and a null one null", async (t) => {
  const { port } = await startAmqp(t)
  const peer = await connectRaw(t, port)
  const own = target({
    address: 'here',
    durable: 2,
    timeout: 9,
    dynamic: false,
    capabilities: ['mine'],
  })
  peer.send(handshake(), begin(), attachReceiver(0, 'orders', { target: own }))
  const first = await peer.frame('attach')
  t.deepEqual(terminus(first, 'target'), { 0: 'here', 1: 2, 3: 9, 4: false, 6: ['mine'] })
  peer.send(attachReceiver(1, 'orders', { target: null }))
  t.like((await peer.frame('attach', 2)).fields['target'], { value: null })
  peer.send(attachSender(2, 'orders', { source: null }))
  t.like((await peer.frame('attach', 3)).fields['source'], { value: null })
  peer.send(attachSender(3, '', { target: null }))
  t.like((await peer.frame('attach', 4)).fields['target'], { value: null })
  t.is(peer.came().filter(({ name }) => name === 'detach').length, 0)
})

test('what a link desires and there is is offered', async (t) => {
  const { port } = await startAmqp(t)
  const peer = await connectRaw(t, port)
  const desired_capabilities = ['DELAYED_DELIVERY', 'SOMETHING-ELSE']
  peer.send(handshake(), begin(), attachSender(0, 'orders', { desired_capabilities }))
  const { fields } = await peer.frame('attach')
  t.is(String(fields['offered_capabilities']), 'DELAYED_DELIVERY')
})

test('a terminus that cannot come back in a frame of the peer refuses the link', async (t) => {
  const { port } = await startAmqp(t)
  const peer = await connectRaw(t, port)
  const own = target({ address: 'x'.repeat(400) })
  peer.send(handshake({ max_frame_size: 512 }), begin())
  peer.send(attachReceiver(0, 'orders', { target: own }))
  const detach = await peer.frame('detach')
  t.is(conditionOf(detach), 'amqp:resource-limit-exceeded')
  peer.send(frame('detach', { handle: 0, closed: true }), attachReceiver(0, 'orders'))
  t.like(await peer.frame('attach', 2), { fields: { name: 'r-0' } })
})

for (const [what, attach] of [
  ['receiver', attachReceiver(0, '/nodes/x')],
  ['sender', attachSender(0, '/nodes/x')],
] as const) {
  test(`a refused ${what} has neither source nor target, and hears why`, async (t) => {
    const { port } = await startAmqp(t)
    const peer = await connectRaw(t, port)
    peer.send(handshake(), begin(), attach)
    const { fields } = await peer.frame('attach')
    for (const terminus of ['source', 'target']) t.like(fields[terminus], { value: null })
    const detach = await peer.frame('detach')
    t.is(conditionOf(detach), 'amqp:not-found')
    t.true(detach.fields['closed'])
  })
}

// What the broker's client registry is told of the links of one connection.

const LINKS = 50

interface Registry {
  readonly broker: Broker
  readonly peer: RawPeer
  /** Calls of register and unregister. */
  told(): number
}

/** A peer with many links, to one group each or all to the same. */
async function registry(t: ExecutionContext, groupOf: (link: number) => string): Promise<Registry> {
  let told = 0
  const { port, broker } = await startAmqp(t, {
    wrap: (real) =>
      overridden(real, {
        clients: overridden(real.clients, {
          register: (registration) => {
            told++
            return real.clients.register(registration)
          },
          unregister: (connectionId, group) => {
            told++
            return real.clients.unregister(connectionId, group)
          },
        }),
      }),
  })
  const peer = await connectRaw(t, port)
  peer.send(handshake(), begin(0), begin(1))
  for (let i = 0; i < LINKS; i++) peer.send(attachReceiver(i, `orders::${groupOf(i)}`))
  await peer.frame('attach', LINKS)
  return { broker, peer, told: () => told }
}

const nobodyIsThere = (broker: Broker): Promise<true> =>
  eventually(async () => ((await broker.clients.list()).length === 0 ? true : undefined))

test('links of a group that ask for the same are one subscription', async (t) => {
  const { broker } = await registry(t, () => 'g')
  const [client] = await broker.clients.list()
  t.is(client?.consumers.length, 1)
  t.is(client?.consumers[0]?.subscriptions.length, 1)
})

test('a session that takes its links with it is told once', async (t) => {
  const { broker, peer, told } = await registry(t, (link) => `g${link}`)
  const before = told()
  peer.send(frame('end'))
  await peer.frame('end')
  await nobodyIsThere(broker)
  t.is(told() - before, 1)
})

test('a connection that takes its links with it is told once', async (t) => {
  const { broker, peer, told } = await registry(t, (link) => `g${link}`)
  const before = told()
  peer.socket.destroy()
  await nobodyIsThere(broker)
  t.is(told() - before, 1)
})

// What a sending peer tells of itself, and what the link that receives from it makes of that.

test('credit that a sender lets go of is granted again', async (t) => {
  const { port } = await startAmqp(t)
  const peer = await connectRaw(t, port)
  peer.send(handshake(), begin(), attachSender(0, 'orders', { initial_delivery_count: 10 }))
  const { fields: first } = await peer.frame('flow')
  const credit = Number(first['link_credit'])
  peer.send(flow({ handle: 0, delivery_count: 10 + credit, link_credit: 0 }))
  const { fields: second } = await peer.frame('flow', 2)
  t.is(second['delivery_count'], 10 + credit)
  t.is(second['link_credit'], credit)
})

test("a session's numbers follow what the peer says it sent", async (t) => {
  const { port } = await startAmqp(t)
  const peer = await connectRaw(t, port)
  peer.send(handshake(), begin(0, { next_outgoing_id: 5 }), attachSender(0, 'orders'))
  await peer.frame('flow')
  peer.send(transfer({ handle: 0, delivery_id: 0 }))
  peer.send(flow({ next_outgoing_id: 40, echo: true }))
  const { fields } = await peer.frame('flow', 2)
  t.is(fields['next_incoming_id'], 40)
})

// Messages that are sent settled have no answer: one that cannot be stored costs its link, with the
// reason and the message's delivery-tag, and is not gone without a word.

const TAG = Buffer.from('tag-7')

interface Told {
  readonly condition: string | undefined
  readonly tag: string | undefined
}

/** What the detach says. */
async function detached(peer: RawPeer): Promise<Told> {
  const came = await peer.frame('detach')
  const { info } = came.fields['error'] as { info?: Record<string, Buffer> }
  return { condition: conditionOf(came), tag: info?.['delivery-tag']?.toString() }
}

const settled = (payload: Buffer, fields: object = {}): Buffer =>
  transfer({ handle: 0, delivery_id: 0, delivery_tag: TAG, settled: true, ...fields }, payload)

async function sending(
  t: Parameters<typeof connectRaw>[0],
  port: number,
  fields: object = {},
): Promise<RawPeer> {
  const peer = await connectRaw(t, port)
  peer.send(handshake(), begin(), attachSender(0, 'orders', { snd_settle_mode: 1, ...fields }))
  await peer.frame('flow')
  return peer
}

test('one that cannot be decoded', async (t) => {
  const { port } = await startAmqp(t)
  const peer = await sending(t, port)
  peer.send(settled(Buffer.from('no sections')))
  t.deepEqual(await detached(peer), { condition: 'amqp:decode-error', tag: 'tag-7' })
})

test('one that is relayed to what is no node', async (t) => {
  const { port } = await startAmqp(t)
  const peer = await sending(t, port, { target: target({}) })
  peer.send(settled(encoded({ to: '/nodes/x', body: 'x' })))
  t.deepEqual(await detached(peer), { condition: 'amqp:not-found', tag: 'tag-7' })
})

test('one beyond max-message-size', async (t) => {
  const { port } = await startAmqp(t, { limits: { messageBytesMax: 1000 } })
  const peer = await sending(t, port)
  peer.send(settled(encoded({ body: 'x'.repeat(1001) })))
  t.deepEqual(await detached(peer), { condition: 'amqp:link:message-size-exceeded', tag: 'tag-7' })
})

test('the second of three, of several frames, that the broker does not take; and no other is blamed', async (t) => {
  let calls = 0
  const { port, broker } = await startAmqp(t, {
    wrap: (real) =>
      overridden(real, {
        publish: async (messages) => {
          const results = [...(await real.publish(messages))]
          for (const [i, { body }] of messages.entries()) {
            calls++
            if (Buffer.from(body).includes('bad')) {
              results[i] = new BrokerError('READ_ONLY', 'the disk is full')
            }
          }
          return results
        },
      }),
  })
  const peer = await sending(t, port)
  const bad = encoded({ body: 'this one is bad' })
  peer.send(
    settled(encoded({ body: 'good' }), { delivery_tag: Buffer.from('one') }),
    settled(bad.subarray(0, 8), { delivery_id: 1, more: true }),
    settled(bad.subarray(8), { delivery_id: undefined, delivery_tag: undefined }),
    settled(encoded({ body: 'good' }), { delivery_id: 2, delivery_tag: Buffer.from('three') }),
  )
  t.deepEqual(await detached(peer), { condition: 'amqp:resource-limit-exceeded', tag: 'tag-7' })
  t.is(calls, 3)
  t.truthy(await broker.topics.get('orders'))
  t.deepEqual(
    peer.came().filter(({ name }) => name === 'disposition'),
    [],
  )
})

// What a range of delivery ids finds, and whose deliveries are whose when links end.

const link = (): SenderLink => ({}) as SenderLink

const receipt = (serial: number): Receipt => ({ serial }) as unknown as Receipt

const delivery = (deliveryId: number, owner: SenderLink): Unsettled => ({
  deliveryId,
  link: owner,
  receipt: receipt(deliveryId),
  lockedUntil: deliveryId,
  transaction: undefined,
  note: undefined,
})

const serials = (receipts: readonly Receipt[] = []): number[] =>
  receipts.map((one) => (one as unknown as { serial: number }).serial)

test('a range is taken once, across the wrap too', (t) => {
  const map = new UnsettledMap(new UnsettledBudget(() => {}))
  const owner = link()
  for (const id of [0xffff_fffe, 0xffff_ffff, 0, 1]) map.add(delivery(id, owner))
  const taken: number[] = []
  const note = ({ deliveryId }: Unsettled): number => taken.push(deliveryId)
  t.is(map.take(0xffff_ffff, 0, note), 2)
  t.is(map.take(0xffff_ffff, 0, note), 0)
  t.deepEqual(taken, [0xffff_ffff, 0])
  t.is(map.size, 2)
})

test("one link's deliveries leave without the others'", (t) => {
  const map = new UnsettledMap(new UnsettledBudget(() => {}))
  const [a, b] = [link(), link()]
  for (let id = 0; id < 6; id++) map.add(delivery(id, id % 2 === 0 ? a : b))
  t.deepEqual(serials(map.takeOf(a)), [0, 2, 4])
  t.is(map.size, 3)
})

test('all deliveries leave at once, each to its link', (t) => {
  const map = new UnsettledMap(new UnsettledBudget(() => {}))
  const [a, b, idle] = [link(), link(), link()]
  for (let id = 0; id < 6; id++) map.add(delivery(id, id < 4 ? a : b))
  map.add({ ...delivery(6, b), receipt: undefined })
  const byLink = map.takeAll()
  t.deepEqual(serials(byLink.get(a)), [0, 1, 2, 3])
  t.deepEqual(serials(byLink.get(b)), [4, 5])
  t.false(byLink.has(idle))
  t.is(map.size, 0)
})

test('what the maps of a connection hold is bounded, and there is room again when much of it has left', (t) => {
  let rooms = 0
  const budget = new UnsettledBudget(() => rooms++)
  const [one, two] = [new UnsettledMap(budget), new UnsettledMap(budget)]
  const [a, b] = [link(), link()]
  const first = delivery(0, a)
  one.add(first)
  one.add(delivery(1, b))
  one.add(delivery(2, b))
  const rest = Array.from({ length: UNSETTLED_PER_CONNECTION_MAX - 3 }, (_, id) => delivery(id, a))
  for (const each of rest) {
    t.true(budget.hasRoom)
    two.add(each)
  }
  t.false(budget.hasRoom)
  const tooMuch = UNSETTLED_PER_CONNECTION_MAX - UNSETTLED_PER_CONNECTION_RESUMED
  two.take(0, tooMuch - 5, () => {})
  t.true(one.delete(first))
  t.false(one.delete(first))
  one.takeOf(a)
  t.is(one.takeOf(b).length, 2)
  t.false(budget.hasRoom)
  t.is(rooms, 0)
  two.delete(rest[tooMuch - 4]!)
  t.true(budget.hasRoom)
  t.is(rooms, 1)
  two.takeAll()
  for (let id = 0; id < UNSETTLED_PER_CONNECTION_MAX; id++) one.add(delivery(id, a))
  t.false(budget.hasRoom)
  one.takeAll()
  t.is(rooms, 2)
})

test('deliveries whose locks ran out come by link', (t) => {
  const map = new UnsettledMap(new UnsettledBudget(() => {}))
  const [a, b] = [link(), link()]
  for (let id = 0; id < 6; id++) map.add(delivery(id, id % 2 === 0 ? a : b))
  const ids = [...map.lockedUntil(3).values()].map((ended) => ended.map((one) => one.deliveryId))
  t.deepEqual(ids, [
    [0, 2],
    [1, 3],
  ])
})
