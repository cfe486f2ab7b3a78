// What a peer may do wrong, on raw sockets: each costs at most its own connection, at once, in
// AMQP's terms where there are any, and all other connections go on.
import test, { type ExecutionContext } from 'ava'
import rhea from 'rhea'
import { DECODE_DEPTH_MAX } from '../../../src/gateway/amqp/limits.ts'
import {
  type AmqpServer,
  type AmqpServerOptions,
  startAmqp,
} from '../../support/amqp/amqp-server.ts'
import {
  AMQP_HEADER,
  attachReceiver,
  attachSender,
  begin,
  conditionOf,
  connectRaw,
  encoded,
  flow,
  frame,
  handshake,
  type RawPeer,
  SASL_HEADER,
  saslFrame,
  source,
  transfer,
} from '../../support/amqp/raw-amqp.ts'
import { connectRhea } from '../../support/amqp/rhea-client.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { eventually } from '../../support/waiting.ts'

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')

interface Probe {
  readonly server: AmqpServer
  readonly peer: RawPeer
  /** A client that was there before still works. */
  othersWork(): Promise<void>
}

async function probe(t: ExecutionContext, options: AmqpServerOptions = {}): Promise<Probe> {
  const server = await startAmqp(t, options)
  const other = await connectRhea(t, server.port)
  const sender = await other.sender('healthy')
  const peer = await connectRaw(t, server.port)
  return {
    server,
    peer,
    othersWork: async () => {
      t.is((await sender.send({ body: 'still here' })).kind, 'accepted')
      await eventually(async () => (server.gateway.connections === 1 ? true : undefined))
    },
  }
}

/** Lists in lists, of so many levels. */
function nested(levels: number): Buffer {
  const parts: Buffer[] = []
  for (let i = 0; i < levels; i++) {
    const head = Buffer.alloc(9)
    head[0] = 0xd0
    head.writeUInt32BE((levels - i - 1) * 9 + 4 + 1, 1)
    head.writeUInt32BE(1, 5)
    parts.push(head)
  }
  return Buffer.concat([...parts, hex('45')])
}

function rawFrame(body: Buffer, type = 0, channel = 0): Buffer {
  const head = Buffer.alloc(8)
  head.writeUInt32BE(8 + body.length)
  head[4] = 2
  head[5] = type
  head.writeUInt16BE(channel, 6)
  return Buffer.concat([head, body])
}

// ---- before the peer has authenticated

const strangers: [string, Buffer][] = [
  ['an HTTP request', Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n')],
  ['an MQTT CONNECT', hex('10 0c 0004 4d515454 04 02 003c 0000')],
  ['AMQP 0-9-1', Buffer.from('AMQP\u0000\u0000\u0009\u0001', 'latin1')],
  ['the TLS header of AMQP', Buffer.from('AMQP\u0002\u0001\u0000\u0000', 'latin1')],
  ['zeros', Buffer.alloc(100)],
]

for (const [what, bytes] of strangers) {
  test(`${what} is answered with our own header and closed`, async (t) => {
    const { peer, othersWork } = await probe(t)
    peer.send(bytes)
    await peer.closed
    t.deepEqual(peer.bytes, SASL_HEADER)
    await othersWork()
  })
}

const unauthenticated: [string, Buffer][] = [
  ['a frame of no bytes', hex('00000000')],
  ['a frame beyond 4 KiB', Buffer.concat([hex('00001001 02010000'), Buffer.alloc(64)])],
  [
    'an array of 4,097 nulls',
    rawFrame(hex('00 53 41 d0 0000000f 00000001 f0 00000005 00001001 40'), 1),
  ],
  [
    'an array of 4,097 nulls instead of a performative',
    rawFrame(hex('f0 00000005 00001001 40'), 1),
  ],
  ['deep nesting', rawFrame(Buffer.concat([hex('00 53 41'), nested(DECODE_DEPTH_MAX + 1)]), 1)],
  ['deep nesting of descriptors', rawFrame(Buffer.alloc(DECODE_DEPTH_MAX + 2), 1)],
  ['a response before any init', saslFrame('sasl_response', { response: Buffer.from('x') })],
  ['an AMQP frame', frame('open', { container_id: 'x' })],
  ['a performative without fields', rawFrame(hex('00 53 41 40'), 1)],
  ['an unknown performative', rawFrame(hex('00 53 7f 45'), 1)],
]

for (const [what, bytes] of unauthenticated) {
  test(`before authentication, ${what} closes the connection`, async (t) => {
    const { peer, othersWork } = await probe(t)
    peer.send(SASL_HEADER, bytes)
    await peer.closed
    await othersWork()
  })
}

for (const mechanism of ['__proto__', 'constructor', 'toString', 'enable_plain', 'CRAM-MD5', '']) {
  test(`mechanism '${mechanism}' is refused like any unknown one`, async (t) => {
    const { peer, othersWork } = await probe(t, { limits: { authFailureDelayMs: 1 } })
    peer.send(SASL_HEADER, saslFrame('sasl_init', { mechanism }))
    await peer.closed
    t.is(peer.bytes.at(-1), 1, 'the outcome is auth')
    await othersWork()
  })
}

test('a peer that never finishes the handshake is closed', async (t) => {
  const clock = new FakeClock()
  const { peer, othersWork } = await probe(t, { clock, limits: { handshakeMs: 200 } })
  peer.send(SASL_HEADER)
  await peer.until(() => (peer.bytes.length > 0 ? true : undefined), 'the header')
  clock.advance(200)
  await peer.closed
  await othersWork()
})

const openings: [string, string, Buffer[]][] = [
  ['another frame', 'amqp:not-allowed', [begin(), attachSender(0, 'orders')]],
  ['an open without a container id', 'amqp:decode-error', [frame('open')]],
  [
    'a max-frame-size below 512',
    'amqp:invalid-field',
    [frame('open', { container_id: 'x', max_frame_size: 100 })],
  ],
  [
    'a heartbeat every few milliseconds',
    'amqp:invalid-field',
    [frame('open', { container_id: 'x', idle_time_out: 10 })],
  ],
  ['a frame over the limit', 'amqp:connection:framing-error', [hex('00010001 02000000')]],
]

for (const [what, condition, bytes] of openings) {
  test(`${what} in place of open is answered by open and close with ${condition}`, async (t) => {
    const { peer, othersWork } = await probe(t)
    const init = saslFrame('sasl_init', { mechanism: 'ANONYMOUS' })
    peer.send(SASL_HEADER, init, AMQP_HEADER, ...bytes)
    await peer.closed
    const came = peer.came()
    t.deepEqual(
      came.map(({ name }) => name),
      ['open', 'close'],
    )
    t.is(conditionOf(came[1]!), condition)
    await othersWork()
  })
}

// ---- after open

async function closedWith(peer: RawPeer): Promise<string | undefined> {
  const close = await peer.frame('close')
  await peer.closed
  return conditionOf(close)
}

const afterOpen: [string, string, Buffer[]][] = [
  ['a SASL frame', 'amqp:connection:framing-error', [rawFrame(hex('00 53 41 45'), 1)]],
  ['garbage in a frame', 'amqp:decode-error', [rawFrame(Buffer.from('garbage'))]],
  [
    'deep nesting',
    'amqp:decode-error',
    [rawFrame(Buffer.concat([hex('00 53 11'), nested(DECODE_DEPTH_MAX + 1)]))],
  ],
  ['a second open', 'amqp:not-allowed', [frame('open', { container_id: 'again' })]],
  ['a transfer without a session', 'amqp:not-allowed', [transfer({ handle: 0, delivery_id: 0 })]],
  ['an attach without a session', 'amqp:not-allowed', [attachSender(0, 'orders')]],
  ['a begin on a taken channel', 'amqp:not-allowed', [begin(), begin()]],
  ['an end without a session', 'amqp:not-allowed', [frame('end')]],
  ['a channel beyond channel-max', 'amqp:connection:framing-error', [begin(64)]],
  [
    'a source that is no list',
    'amqp:decode-error',
    // attach: name, handle, role, two modes, source
    [begin(), rawFrame(hex('00 53 12 c0 0c 06 a1 01 78 43 41 40 40 00 53 28 43'))],
  ],
  ['an unknown performative', 'amqp:not-allowed', [rawFrame(hex('00 53 1c 45'))]],
  [
    'an attach whose name is a number',
    'amqp:decode-error',
    [begin(), rawFrame(hex('00 53 12 c0 05 03 52 01 43 42'))],
  ],
  [
    'a link name that is no UTF-8',
    'amqp:decode-error',
    [begin(), rawFrame(hex('00 53 12 c0 07 03 a1 02 c3 28 43 42'))],
  ],
  [
    'a link name that fits into no refusal',
    'amqp:invalid-field',
    [begin(), attachSender(0, 'orders', { name: 'n'.repeat(65_450) })],
  ],
  [
    'a flow with text for numbers',
    'amqp:decode-error',
    [begin(), rawFrame(hex('00 53 13 c0 0a 04 a1 01 78 a1 01 78 43 43 '))],
  ],
]

for (const [what, condition, bytes] of afterOpen) {
  test(`${what} closes the connection with ${condition}`, async (t) => {
    const { peer, othersWork } = await probe(t)
    peer.send(handshake(), ...bytes)
    t.is(await closedWith(peer), condition)
    await othersWork()
  })
}

test('three thousand sessions end at channel-max', async (t) => {
  const { peer, othersWork } = await probe(t)
  peer.send(handshake(), ...Array.from({ length: 3000 }, (_, channel) => begin(channel)))
  t.is(await closedWith(peer), 'amqp:connection:framing-error')
  t.is(peer.came().filter(({ name }) => name === 'begin').length, 64)
  await othersWork()
})

test('twenty thousand links end at handle-max', async (t) => {
  const { peer, othersWork } = await probe(t)
  const attaches = Array.from({ length: 20_000 }, (_, handle) => attachSender(handle, 'orders'))
  peer.send(handshake(), begin(), ...attaches)
  t.is(await closedWith(peer), 'amqp:connection:framing-error')
  t.is(peer.came().filter(({ name }) => name === 'attach').length, 256)
  await othersWork()
})

test('what a peer asks of a source comes back in an attach of bounded size', async (t) => {
  const { peer } = await probe(t)
  const absurd = Array.from({ length: 200 }, () => 'z'.repeat(250))
  const many = Array.from({ length: 5000 }, () => 'queue')
  peer.send(handshake(), begin())
  peer.send(
    attachReceiver(0, 'orders', { source: source({ address: 'orders', outcomes: absurd }) }),
  )
  peer.send(
    attachReceiver(1, 'orders', { source: source({ address: 'orders', capabilities: many }) }),
  )
  const filter = { tags: rhea.types.wrap_described('a'.repeat(60_000), 'rmq:tags') }
  peer.send(attachReceiver(2, 'orders', { source: source({ address: 'orders', filter }) }))
  await peer.frame('attach', 3)
  t.is(conditionOf(await peer.frame('detach')), 'amqp:invalid-field')
  t.true(peer.received < 2000, `${peer.received} bytes`)
})

const sessionMistakes: [string, string, Buffer[]][] = [
  [
    'a transfer on a handle that is not attached',
    'amqp:session:unattached-handle',
    [transfer({ handle: 7, delivery_id: 0 })],
  ],
  [
    'a flow for a handle that is not attached',
    'amqp:session:unattached-handle',
    [flow({ handle: 7 })],
  ],
  [
    'a detach of a handle that is not attached',
    'amqp:session:unattached-handle',
    [frame('detach', { handle: 7, closed: true })],
  ],
  [
    'an attach on a taken handle',
    'amqp:session:handle-in-use',
    [attachSender(0, 'orders'), attachSender(0, 'orders', { name: 'other' })],
  ],
  [
    'a transfer on a link that we send on',
    'amqp:not-allowed',
    [attachReceiver(0, 'orders'), transfer({ handle: 0, delivery_id: 0 })],
  ],
]

for (const [what, condition, bytes] of sessionMistakes) {
  test(`${what} ends its session, and the connection goes on`, async (t) => {
    const { peer } = await probe(t)
    peer.send(handshake(), begin(), ...bytes)
    const end = await peer.frame('end')
    t.is(conditionOf(end), condition)
    // Frames on their way are ignored, and the channel is free again after the peer's own end.
    peer.send(transfer({ handle: 3, delivery_id: 1 }), frame('end'), begin())
    await peer.frame('begin', 2)
    t.pass()
  })
}

/** A sender's attach, answered and granted credit. */
async function attached(peer: RawPeer, ...fields: Record<string, unknown>[]): Promise<void> {
  peer.send(handshake(), begin(), ...fields.map((one, i) => attachSender(i, 'orders', one)))
  await peer.frame('flow', fields.length)
}

const linkMistakes: [string, string, Buffer[]][] = [
  [
    'a delivery without an id',
    'amqp:invalid-field',
    [frame('transfer', { handle: 0, delivery_tag: Buffer.from('t') }, 0, encoded({ body: 'x' }))],
  ],
  [
    'a delivery without a tag',
    'amqp:invalid-field',
    [frame('transfer', { handle: 0, delivery_id: 0 }, 0, encoded({ body: 'x' }))],
  ],
  [
    'a delivery that begins within another',
    'amqp:not-allowed',
    [
      transfer({ handle: 0, delivery_id: 0, more: true }),
      transfer({ handle: 0, delivery_id: 1, more: true }),
    ],
  ],
  [
    'a delivery to be resumed',
    'amqp:not-implemented',
    [transfer({ handle: 0, delivery_id: 0, resume: true })],
  ],
]

for (const [what, condition, bytes] of linkMistakes) {
  test(`${what} costs its link alone`, async (t) => {
    const { peer, othersWork: _ } = await probe(t)
    await attached(peer, {}, {})
    peer.send(...bytes, transfer({ handle: 1, delivery_id: 5 }))
    t.is(conditionOf(await peer.frame('detach')), condition)
    t.is((await peer.frame('disposition')).fields['first'], 5)
  })
}

test('more deliveries than credit cost the link', async (t) => {
  const { peer } = await probe(t, {
    limits: { unstoredBytesTotalMax: 1 },
    wrap: (real) => Object.assign(Object.create(real), { publish: () => new Promise(() => {}) }),
  })
  await attached(peer, {})
  const credit = Number((await peer.frame('flow')).fields['link_credit'])
  const sent = Array.from({ length: credit + 1 }, (_, id) =>
    transfer({ handle: 0, delivery_id: id }),
  )
  peer.send(...sent)
  t.is(conditionOf(await peer.frame('detach')), 'amqp:link:transfer-limit-exceeded')
})

test('incomplete deliveries of all links together have a limit', async (t) => {
  const { peer, othersWork } = await probe(t, { limits: { messageBytesMax: 60_000 } })
  const links = Array.from({ length: 8 }, () => ({}))
  await attached(peer, ...links)
  const piece = Buffer.alloc(50_000)
  links.forEach((_, handle) => {
    peer.send(transfer({ handle, delivery_id: handle, more: true }, piece))
  })
  t.is(conditionOf(await peer.frame('detach')), 'amqp:resource-limit-exceeded')
  // The links before it go on: theirs is not more than may be.
  peer.send(transfer({ handle: 0, delivery_id: 0, aborted: true }), flow({ echo: true }))
  await peer.frame('flow', links.length + 1)
  t.is(peer.came().filter(({ name }) => name === 'close').length, 0)
  peer.send(frame('close'))
  await othersWork()
})

test('an incomplete delivery of very many pieces is within that limit', async (t) => {
  const { peer, othersWork } = await probe(t, { limits: { messageBytesMax: 4096 } })
  await attached(peer, {})
  const pieces = Array.from({ length: 130 }, (_, i) =>
    transfer({ handle: 0, delivery_id: 0, more: true }, Buffer.alloc(i % 2)),
  )
  peer.send(...pieces)
  t.is(conditionOf(await peer.frame('detach')), 'amqp:resource-limit-exceeded')
  peer.send(frame('close'))
  await othersWork()
})

test('a link name that is too long refuses the link alone', async (t) => {
  const { peer } = await probe(t)
  const name = 'n'.repeat(600)
  peer.send(handshake(), begin(), attachSender(0, 'orders', { name }))
  t.is((await peer.frame('attach')).fields['name'], name)
  t.is(conditionOf(await peer.frame('detach')), 'amqp:invalid-field')
  peer.send(attachSender(1, 'orders'))
  await peer.frame('flow')
})

test('a link too many is refused, and those before it stay', async (t) => {
  const { peer } = await probe(t)
  peer.send(handshake())
  for (let channel = 0; channel < 4; channel++) {
    const attaches = Array.from({ length: 251 }, (_, handle) => {
      const attach = attachSender(handle, 'orders', { name: `link-${channel}-${handle}` })
      attach.writeUInt16BE(channel, 6)
      return attach
    })
    peer.send(begin(channel), ...attaches)
    await peer.frame('attach', (channel + 1) * 251)
  }
  t.is(conditionOf(await peer.frame('detach', 4)), 'amqp:resource-limit-exceeded')
  t.is(peer.came().filter(({ name }) => name === 'detach').length, 4)
})

test('a disposition over all delivery ids there can be is answered, and others are served', async (t) => {
  const { peer, othersWork } = await probe(t)
  peer.send(handshake(), begin(), attachReceiver(0, 'orders'))
  await peer.frame('attach')
  peer.send(
    frame('disposition', { role: true, first: 0, last: 0xffff_fff0, settled: true }),
    frame('disposition', { role: true, first: 0, last: 0x7fff_fff0, settled: true }),
    frame('disposition', { role: false, first: 0, last: 0xffff_ffff, settled: true }),
    frame('close'),
  )
  // One after the other they would take so long that no test waits for it.
  await peer.frame('close')
  await othersWork()
})
