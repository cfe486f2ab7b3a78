// How a peer's attach is answered.
import test from 'ava'
import { startAmqp } from '../../support/amqp-server.ts'
import {
  attachReceiver,
  attachSender,
  begin,
  type Came,
  conditionOf,
  connectRaw,
  frame,
  handshake,
  source,
  target,
} from '../../support/raw-amqp.ts'
import { rheaTypes as types } from './values.ts'

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
