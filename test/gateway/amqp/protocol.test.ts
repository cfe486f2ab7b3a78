// What the specification asks of a server, frame by frame on raw sockets: above all where stock
// server libraries go wrong (pipelining, serial numbers, merged dispositions, aborted deliveries,
// echo, drain).
import test from 'ava'
import { BrokerError } from '../../../src/errors.ts'
import { recordsOf } from '../../../src/model/record.ts'
import { EVERY_TAG } from '../../../src/model/tag-filter.ts'
import type { Broker } from '../../../src/port/broker.ts'
import { startAmqp } from '../../support/amqp/amqp-server.ts'
import {
  AMQP_HEADER,
  accepted,
  attachReceiver,
  attachSender,
  begin,
  type Came,
  conditionOf,
  connectRaw,
  encoded,
  flow,
  frame,
  HEARTBEAT,
  handshake,
  type RawPeer,
  SASL_HEADER,
  transfer,
} from '../../support/amqp/raw-amqp.ts'
import { eventually } from '../../support/waiting.ts'

async function bodies(broker: Broker, topic: string): Promise<string[]> {
  const all: string[] = []
  for (const range of await broker.topics.ranges(topic)) {
    const request = { ...range, offset: range.minOffset, maxMessages: 1000, maxBytes: 1 << 24 }
    const { records } = await broker.pull({ ...request, filter: EVERY_TAG, waitMs: 0 })
    for (const record of recordsOf(records)) all.push(record.body.toString())
  }
  return all.sort()
}

const named = (peer: RawPeer, name: string): Came[] =>
  peer.came().filter((one) => one.name === name)

const grant = (handle: number, credit: number, fields: Record<string, unknown> = {}): Buffer =>
  flow({ handle, delivery_count: 0, link_credit: credit, ...fields })

test('a client may send everything up to its attaches in one piece', async (t) => {
  const { port } = await startAmqp(t)
  const peer = await connectRaw(t, port)
  peer.send(
    handshake(),
    begin(),
    attachSender(0, 'orders'),
    attachReceiver(1, 'orders'),
    grant(1, 5),
  )
  await peer.frame('attach', 2)
  t.deepEqual(peer.bytes.subarray(0, 8), SASL_HEADER)
  const names = peer.came().map(({ name }) => name)
  t.deepEqual(names.slice(0, 3), ['open', 'begin', 'attach'])
})

test('a client without a security layer is anonymous where that is allowed', async (t) => {
  const { port } = await startAmqp(t)
  const peer = await connectRaw(t, port)
  peer.send(AMQP_HEADER, frame('open', { container_id: 'raw' }), begin())
  await peer.frame('begin')
  t.deepEqual(peer.bytes.subarray(0, 8), AMQP_HEADER)
})

test('open tells our container id and our limits', async (t) => {
  const { port } = await startAmqp(t, { limits: { frameBytesMax: 8192 } })
  const peer = await connectRaw(t, port)
  peer.send(handshake())
  const { fields } = await peer.frame('open')
  t.is(fields['container_id'], 'broker-a')
  t.is(fields['max_frame_size'], 8192)
  t.is(fields['channel_max'], 63)
  t.is(fields['idle_time_out'], 30_000)
  t.like(fields['properties'], { product: 'TrivetMQ' })
})

test('one link name may be used in both directions', async (t) => {
  const { port } = await startAmqp(t)
  const peer = await connectRaw(t, port)
  const name = 'pair'
  peer.send(handshake(), begin())
  peer.send(attachSender(0, 'orders', { name }), attachReceiver(1, 'orders', { name }))
  await peer.frame('attach', 2)
  t.deepEqual(
    named(peer, 'attach').map(({ fields }) => [fields['name'], fields['role']]),
    [
      ['pair', true],
      ['pair', false],
    ],
  )
})

test('a link may be detached and attached again under its name in one piece', async (t) => {
  const { port, broker } = await startAmqp(t)
  const peer = await connectRaw(t, port)
  peer.send(handshake(), begin())
  for (let i = 0; i < 5; i++) {
    peer.send(attachSender(0, 'orders'), frame('detach', { handle: 0, closed: true }))
  }
  peer.send(attachSender(0, 'orders'))
  await peer.frame('attach', 6)
  await peer.frame('detach', 5)
  await peer.frame('flow')
  peer.send(transfer({ handle: 0, delivery_id: 0, settled: false }))
  await peer.frame('disposition')
  t.deepEqual(await bodies(broker, 'orders'), ['x'])
})

test('a session may be ended and begun again on its channel in one piece', async (t) => {
  const { port } = await startAmqp(t)
  const peer = await connectRaw(t, port)
  peer.send(handshake())
  for (let i = 0; i < 5; i++) peer.send(begin(), attachSender(0, 'orders'), frame('end'))
  peer.send(begin(), attachSender(0, 'orders'))
  await peer.frame('begin', 6)
  await peer.frame('end', 5)
  await peer.frame('attach', 6)
  t.is(named(peer, 'close').length, 0)
  // A peer may take one channel and one handle only.
  const numbers = peer.came().map(({ channel, fields }) => [channel, fields['handle'] ?? 0])
  t.true(numbers.every(([channel, handle]) => channel === 0 && handle === 0))
})

test('a detach that keeps the link is answered by the same', async (t) => {
  const { port } = await startAmqp(t)
  const peer = await connectRaw(t, port)
  peer.send(handshake(), begin(), attachReceiver(0, 'orders'))
  await peer.frame('attach')
  peer.send(frame('detach', { handle: 0, closed: false }))
  t.falsy((await peer.frame('detach')).fields['closed'])
})

test('numbers begin anywhere and wrap', async (t) => {
  const { port, broker } = await startAmqp(t)
  const peer = await connectRaw(t, port)
  const last = 0xffff_ffff
  peer.send(handshake(), begin(0, { next_outgoing_id: last }))
  peer.send(attachSender(0, 'orders', { initial_delivery_count: 5000 }))
  const { fields } = await peer.frame('flow')
  t.is(fields['delivery_count'], 5000)
  t.is(fields['next_incoming_id'], last)
  t.true(Number(fields['link_credit']) > 0)
  const ids = [last - 1, last, 0, 1]
  peer.send(
    ...ids.map((id) => transfer({ handle: 0, delivery_id: id }, encoded({ body: String(id) }))),
  )
  await peer.until(() =>
    named(peer, 'disposition').at(-1)?.fields['last'] === 1 ? true : undefined,
  )
  t.deepEqual(await bodies(broker, 'orders'), ids.map(String).sort())
})

test('outcomes that differ are not merged into one range', async (t) => {
  const { port } = await startAmqp(t, {
    wrap: (real) =>
      Object.assign(Object.create(real) as Broker, {
        publish: async (batch: readonly { body: Uint8Array }[]) =>
          batch.map(({ body }) =>
            Buffer.from(body).toString() === 'bad'
              ? new BrokerError('MESSAGE_INVALID', 'bad')
              : { queueId: 0, queueOffset: 0, position: 0, storeHost: { ip: 0, port: 0 } },
          ),
      }),
  })
  const peer = await connectRaw(t, port)
  peer.send(handshake(), begin(), attachSender(0, 'orders'))
  await peer.frame('flow')
  const words = ['ok', 'bad', 'ok', 'ok', 'bad', 'bad', 'ok']
  peer.send(...words.map((body, id) => transfer({ handle: 0, delivery_id: id }, encoded({ body }))))
  await peer.until(() =>
    named(peer, 'disposition').at(-1)?.fields['last'] === 6 ? true : undefined,
  )
  const outcomes = new Map<number, string>()
  for (const { fields } of named(peer, 'disposition')) {
    const state = fields['state'] as { descriptor: { value: number } }
    for (let id = Number(fields['first']); id <= Number(fields['last']); id++) {
      t.false(outcomes.has(id))
      outcomes.set(id, state.descriptor.value === 0x24 ? 'ok' : 'bad')
    }
  }
  t.deepEqual([...outcomes.values()], words)
})

test('equal outcomes of one chunk go out as one range', async (t) => {
  const { port } = await startAmqp(t)
  const peer = await connectRaw(t, port)
  peer.send(handshake(), begin(), attachSender(0, 'orders'))
  await peer.frame('flow')
  peer.send(...Array.from({ length: 100 }, (_, id) => transfer({ handle: 0, delivery_id: id })))
  await peer.until(() =>
    named(peer, 'disposition').at(-1)?.fields['last'] === 99 ? true : undefined,
  )
  t.true(named(peer, 'disposition').length <= 3)
})

test('an aborted delivery is no message', async (t) => {
  const { port, broker } = await startAmqp(t)
  const peer = await connectRaw(t, port)
  peer.send(handshake(), begin(), attachSender(0, 'orders'))
  await peer.frame('flow')
  peer.send(
    transfer({ handle: 0, delivery_id: 0, more: true }, encoded({ body: 'half' })),
    frame('transfer', { handle: 0, aborted: true }),
    transfer({ handle: 0, delivery_id: 1, aborted: true }),
    transfer({ handle: 0, delivery_id: 2 }, encoded({ body: 'whole' })),
  )
  t.is((await peer.frame('disposition')).fields['first'], 2)
  t.deepEqual(await bodies(broker, 'orders'), ['whole'])
})

test('deliveries of two links may be interleaved frame by frame', async (t) => {
  const { port, broker } = await startAmqp(t)
  const peer = await connectRaw(t, port)
  peer.send(handshake(), begin(), attachSender(0, 'orders'), attachSender(1, 'orders'))
  await peer.frame('flow', 2)
  const parts = ['left', 'right'].map((body) => {
    const bytes = encoded({ body })
    return [bytes.subarray(0, 5), bytes.subarray(5, 9), bytes.subarray(9)]
  })
  for (let piece = 0; piece < 3; piece++) {
    for (const handle of [0, 1]) {
      const first = piece === 0 ? { delivery_id: handle, delivery_tag: Buffer.from('t') } : {}
      const fields = { handle, more: piece < 2, ...first }
      peer.send(frame('transfer', fields, 0, parts[handle]![piece]))
    }
  }
  await eventually(async () => ((await bodies(broker, 'orders')).length === 2 ? true : undefined))
  t.deepEqual(await bodies(broker, 'orders'), ['left', 'right'])
})

test('a sender that settles second is answered unsettled first', async (t) => {
  const { port } = await startAmqp(t)
  const peer = await connectRaw(t, port)
  peer.send(handshake(), begin(), attachSender(0, 'orders', { rcv_settle_mode: 1 }))
  t.is((await peer.frame('attach')).fields['rcv_settle_mode'], 1)
  await peer.frame('flow')
  peer.send(transfer({ handle: 0, delivery_id: 0 }))
  t.false((await peer.frame('disposition')).fields['settled'])
  peer.send(frame('disposition', { role: false, first: 0, settled: true, state: accepted() }))
  peer.send(transfer({ handle: 0, delivery_id: 1 }))
  await peer.frame('disposition', 2)
  t.is(named(peer, 'end').length, 0)
})

test('echo is answered, for a link and for a session', async (t) => {
  const { port } = await startAmqp(t)
  const peer = await connectRaw(t, port)
  peer.send(handshake(), begin(), attachReceiver(3, 'orders'))
  await peer.frame('attach')
  peer.send(flow({ echo: true }))
  t.falsy((await peer.frame('flow')).fields['handle'])
  peer.send(grant(3, 7, { echo: true }))
  const { fields } = await peer.frame('flow', 2)
  t.is(fields['link_credit'], 7)
})

test('modes are echoed as asked', async (t) => {
  const { port } = await startAmqp(t)
  const peer = await connectRaw(t, port)
  peer.send(handshake(), begin())
  let handle = 0
  for (const snd of [0, 1, 2]) {
    for (const attach of [attachSender, attachReceiver]) {
      peer.send(attach(handle++, 'orders', { snd_settle_mode: snd, rcv_settle_mode: 0 }))
    }
  }
  await peer.frame('attach', 6)
  t.deepEqual(
    named(peer, 'attach').map(({ fields }) => fields['snd_settle_mode']),
    [0, 0, 1, 1, 2, 2],
  )
})

async function publishTo(peer: RawPeer, handle: number, words: readonly string[]): Promise<void> {
  const before = named(peer, 'disposition').length
  peer.send(
    ...words.map((body, id) =>
      transfer({ handle, delivery_id: id, delivery_tag: Buffer.from('t') }, encoded({ body })),
    ),
  )
  await peer.until(() => (named(peer, 'disposition').length > before ? true : undefined))
}

test('a settlement told twice, or late, settles nothing else', async (t) => {
  const { port, broker } = await startAmqp(t)
  const peer = await connectRaw(t, port)
  peer.send(handshake(), begin(), attachSender(0, 'orders'))
  await peer.frame('flow')
  await publishTo(peer, 0, ['a', 'b', 'c', 'd', 'e', 'f', 'g'])
  peer.send(attachReceiver(1, 'orders::g'), grant(1, 7))
  await peer.frame('transfer', 7)
  const settle = (first: number, last = first): Buffer =>
    frame('disposition', { role: true, first, last, settled: true, state: accepted() })
  peer.send(settle(0, 2), settle(2), settle(0, 1), settle(1), settle(100, 200))
  const inFlight = async (): Promise<number> =>
    (await broker.groups.lags('g')).reduce((sum, lag) => sum + lag.inFlight, 0)
  await eventually(async () => ((await inFlight()) === 4 ? true : undefined))
  peer.send(flow({ echo: true }))
  await peer.until(() => (named(peer, 'flow').length > 1 ? true : undefined))
  t.is(await inFlight(), 4)
  peer.send(settle(0, 6))
  await eventually(async () => ((await inFlight()) === 0 ? true : undefined))
})

test('one delivery that is never settled holds up no other', async (t) => {
  const { port } = await startAmqp(t)
  const peer = await connectRaw(t, port)
  peer.send(handshake(), begin(), attachSender(0, 'orders'))
  await peer.frame('flow')
  const words = Array.from({ length: 500 }, (_, i) => String(i))
  await publishTo(peer, 0, words)
  peer.send(attachReceiver(1, 'orders::g'), grant(1, 500))
  await peer.frame('transfer', 500)
  peer.send(
    frame('disposition', { role: true, first: 1, last: 499, settled: true, state: accepted() }),
  )
  await publishTo(peer, 0, words)
  peer.send(flow({ handle: 1, delivery_count: 500, link_credit: 500, next_incoming_id: 500 }))
  await peer.frame('transfer', 1000)
  t.pass()
})

test('a link without credit holds up no other link', async (t) => {
  const { port } = await startAmqp(t)
  const peer = await connectRaw(t, port)
  peer.send(handshake(), begin(), attachSender(0, 'orders'))
  await peer.frame('flow')
  await publishTo(peer, 0, ['a'])
  peer.send(attachReceiver(1, 'orders::g1'), attachReceiver(2, 'orders::g2'))
  peer.send(grant(1, 0), grant(2, 1))
  const { fields } = await peer.frame('transfer')
  const second = named(peer, 'attach')[2]!
  t.is(fields['handle'], second.fields['handle'])
})

test('no message goes out before our attach does, whatever was pipelined', async (t) => {
  const { port } = await startAmqp(t)
  const peer = await connectRaw(t, port)
  peer.send(handshake(), begin(), attachSender(0, 'orders'))
  await peer.frame('flow')
  await publishTo(peer, 0, ['a', 'b'])
  const reader = await connectRaw(t, port)
  reader.send(handshake(), begin(), attachReceiver(0, 'orders::g'), grant(0, 10))
  await reader.frame('transfer', 2)
  t.deepEqual(
    reader.came().map(({ name }) => name),
    ['open', 'begin', 'attach', 'transfer', 'transfer'],
  )
})

test('drain with nothing there is answered at once with no credit left', async (t) => {
  const { port } = await startAmqp(t)
  const peer = await connectRaw(t, port)
  peer.send(handshake(), begin(), attachReceiver(0, 'orders::g'), grant(0, 10, { drain: true }))
  const { fields } = await peer.frame('flow')
  t.like(
    { ...fields, credit: fields['link_credit'], count: fields['delivery_count'] },
    { credit: 0, count: 10 },
  )
})

test('frames are no longer than the peer takes, and no more than its window', async (t) => {
  const { port } = await startAmqp(t)
  const writer = await connectRaw(t, port)
  writer.send(handshake(), begin(), attachSender(0, 'orders'))
  await writer.frame('flow')
  await publishTo(writer, 0, ['x'.repeat(10_000)])
  const reader = await connectRaw(t, port)
  reader.send(handshake({ max_frame_size: 512 }), begin(0, { incoming_window: 3 }))
  reader.send(attachReceiver(0, 'orders::g'), grant(0, 1, { incoming_window: 3 }))
  await reader.frame('transfer', 3)
  reader.send(flow({ echo: true, next_incoming_id: 3, incoming_window: 0 }))
  await reader.frame('flow')
  t.is(named(reader, 'transfer').length, 3)
  reader.send(flow({ next_incoming_id: 3, incoming_window: 1000 }))
  const last = await reader.until(() =>
    named(reader, 'transfer').find(({ fields }) => !fields['more']),
  )
  t.false(last.fields['more'])
  const whole = Buffer.concat(named(reader, 'transfer').map(({ payload }) => payload!))
  t.true(whole.includes('x'.repeat(10_000)))
})

test('a peer that asks for heartbeats gets them', async (t) => {
  const { port } = await startAmqp(t)
  const peer = await connectRaw(t, port)
  peer.send(handshake({ idle_time_out: 100 }))
  await peer.until(() => (peer.bytes.subarray(-8).equals(HEARTBEAT) ? true : undefined))
  t.pass()
})

test('a peer that falls silent is closed, one that only sends messages is not', async (t) => {
  const { port } = await startAmqp(t, { limits: { idleMs: 5000 } })
  const busy = await connectRaw(t, port)
  busy.send(handshake(), begin(), attachSender(0, 'orders'))
  let id = 0
  const beat = setInterval(() => {
    const isReady = named(busy, 'flow').length > 0
    busy.send(isReady ? transfer({ handle: 0, delivery_id: id++, settled: true }) : HEARTBEAT)
  }, 50)
  t.teardown(() => clearInterval(beat))
  await busy.frame('flow')
  const silent = await connectRaw(t, port)
  silent.send(handshake())
  t.is(conditionOf(await silent.frame('close')), 'amqp:resource-limit-exceeded')
  await silent.closed
  t.true(id > 2)
  t.is(named(busy, 'close').length, 0)
})

test('a close is answered and the socket ends', async (t) => {
  const { port } = await startAmqp(t)
  const peer = await connectRaw(t, port)
  // A second close changes nothing.
  peer.send(handshake(), begin(), attachReceiver(0, 'orders'), frame('close'), frame('close'))
  await peer.frame('close')
  await peer.closed
  t.pass()
})

test('the peer is told when its hold on a message ends', async (t) => {
  const { port } = await startAmqp(t, { limits: { lockMs: 1000 } })
  const peer = await connectRaw(t, port)
  peer.send(handshake(), begin(), attachSender(0, 'orders'))
  await peer.frame('flow')
  await publishTo(peer, 0, ['a'])
  peer.send(attachReceiver(1, 'orders::g'), grant(1, 1))
  await peer.frame('transfer')
  const { fields } = await peer.frame('disposition', 2)
  t.false(fields['role'])
  t.true(fields['settled'])
  t.is((fields['state'] as { descriptor: { value: number } }).descriptor.value, 0x26)
})

test('a message format we do not know passes unchanged', async (t) => {
  const { port } = await startAmqp(t)
  const peer = await connectRaw(t, port)
  peer.send(
    handshake(),
    begin(),
    attachSender(0, 'orders'),
    attachReceiver(1, 'orders'),
    grant(1, 1),
  )
  await peer.frame('flow')
  const payload = Buffer.from('not sections')
  peer.send(transfer({ handle: 0, delivery_id: 0, message_format: 77 }, payload))
  const got = await peer.frame('transfer')
  t.is(got.fields['message_format'], 77)
  t.deepEqual(got.payload, payload)
})

test('a disposition may come for several links at once', async (t) => {
  const { port, broker } = await startAmqp(t)
  const peer = await connectRaw(t, port)
  peer.send(handshake(), begin(), attachSender(0, 'orders'))
  await peer.frame('flow')
  await publishTo(peer, 0, ['a'])
  peer.send(
    attachReceiver(1, 'orders::g1'),
    attachReceiver(2, 'orders::g2'),
    grant(1, 1),
    grant(2, 1),
  )
  await peer.frame('transfer', 2)
  peer.send(
    frame('disposition', { role: true, first: 0, last: 1, settled: true, state: accepted() }),
  )
  for (const group of ['g1', 'g2']) {
    const done = async (): Promise<true | undefined> =>
      (await broker.groups.lags(group)).every(({ lag }) => lag === 0) ? true : undefined
    t.true(await eventually(done))
  }
})
