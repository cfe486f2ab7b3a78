// What a peer may grant and declare: the largest numbers, and just over our limits.
import test from 'ava'
import { Sections } from '../../../src/gateway/amqp/codec/sections.ts'
import { encodeWire, PLAIN_WIRE } from '../../../src/gateway/amqp/codec/wire-form.ts'
import { AmqpError } from '../../../src/gateway/amqp/errors.ts'
import {
  SECTIONS_PER_MESSAGE_MAX,
  VALUES_PER_MESSAGE_MAX,
  ZERO_WIDTH_ELEMENTS_MAX,
} from '../../../src/gateway/amqp/limits.ts'
import { InboundMessage } from '../../../src/gateway/amqp/messages/inbound-message.ts'
import { OutboundMessage } from '../../../src/gateway/amqp/messages/outbound-message.ts'
import { encodeProperties, PROPERTY } from '../../../src/model/properties.ts'
import { startAmqp } from '../../support/amqp/amqp-server.ts'
import {
  attachReceiver,
  attachSender,
  begin,
  type Came,
  connectRaw,
  flow,
  handshake,
  type RawPeer,
  transfer,
} from '../../support/amqp/raw-amqp.ts'
import { connectRhea } from '../../support/amqp/rhea-client.ts'
import { recordOf } from './message-bytes.ts'

// Credits and windows are any uint: what a peer grants beyond 2^31 is as good as less.

const named = (peer: RawPeer, name: string): Came[] =>
  peer.came().filter((one) => one.name === name)

const grant = (handle: number, credit: number, fields: Record<string, unknown> = {}): Buffer =>
  flow({ handle, delivery_count: 0, link_credit: credit, ...fields })

for (const most of [0x7fff_ffff, 0x8000_0000, 0xffff_ffff]) {
  test(`a credit and a window of ${most} are as much as they say`, async (t) => {
    const { port } = await startAmqp(t)
    const peer = await connectRaw(t, port)
    peer.send(handshake(), begin(0, { incoming_window: most }), attachSender(0, 'orders'))
    await peer.frame('flow')
    peer.send(...[0, 1, 2].map((id) => transfer({ handle: 0, delivery_id: id })))
    await peer.until(() =>
      named(peer, 'disposition').at(-1)?.fields['last'] === 2 ? true : undefined,
    )
    peer.send(attachReceiver(1, 'orders::g'), grant(1, most, { incoming_window: most }))
    await peer.frame('transfer', 3)
    // Told again from an older view: three of them are used.
    peer.send(grant(1, most, { incoming_window: most, echo: true }))
    const left = await peer.until(() =>
      named(peer, 'flow').find(({ fields }) => fields['handle'] === 1),
    )
    t.is(left.fields['link_credit'], most - 3)
    peer.send(transfer({ handle: 0, delivery_id: 3 }))
    await peer.frame('transfer', 4)
    peer.send(grant(1, most, { delivery_count: 4, next_incoming_id: 4, drain: true }))
    const drained = await peer.until(() =>
      named(peer, 'flow').find(({ fields }) => fields['handle'] === 1 && fields['drain']),
    )
    t.is(drained.fields['link_credit'], 0)
    t.is(drained.fields['delivery_count'], (4 + most) >>> 0)
    peer.send(transfer({ handle: 0, delivery_id: 4 }))
    peer.send(grant(1, 1, { delivery_count: (4 + most) >>> 0, next_incoming_id: 4 }))
    await peer.frame('transfer', 5)
  })
}

// Messages that declare more elements than they may, just over our limits, in every place a value
// may stand.

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')
const section = (code: number, value: Buffer): Buffer =>
  Buffer.concat([Buffer.from([0, 0x53, code]), value])
const data = section(0x75, hex('a0 01 78'))

/** An array of nulls: elements that take no bytes. */
function nulls(count: number): Buffer {
  const array = hex('f0 00000005 00000000 40')
  array.writeUInt32BE(count, 5)
  return array
}

/** An AMQP list or map of these encoded elements, which says it has `count`. */
function compound(code: number, count: number, ...elements: Buffer[]): Buffer {
  const content = Buffer.concat(elements)
  const head = Buffer.alloc(9)
  head[0] = code
  head.writeUInt32BE(content.length + 4, 1)
  head.writeUInt32BE(count, 5)
  return Buffer.concat([head, content])
}

const absurd = nulls(ZERO_WIDTH_ELEMENTS_MAX + 1)
const half = nulls(ZERO_WIDTH_ELEMENTS_MAX / 2)
const NULL = hex('40')
const many = (count: number): Buffer => compound(0xd0, count, Buffer.alloc(count, NULL))
const pieces = (count: number): Buffer => Buffer.alloc(count * data.length, data)

const read = (bytes: Buffer): void => new InboundMessage(undefined).read(bytes, 0, bytes.length, 0)

const refused: [string, Buffer][] = [
  ['an array', section(0x77, absurd)],
  ['an array of booleans', section(0x77, hex('f0 00000005 00001001 41'))],
  ['a list with more elements than bytes', section(0x77, compound(0xd0, 3, NULL, NULL))],
  ['a map with more elements than bytes', section(0x77, compound(0xd1, 4, NULL, NULL))],
  ['a map with half an entry', section(0x77, compound(0xd1, 1, NULL))],
  ['a short list with more elements than bytes', section(0x77, hex('c0 03 03 40 40'))],
  ['a list with fewer elements than bytes', section(0x77, compound(0xd0, 1, NULL, NULL))],
  ['an array within a list', section(0x77, compound(0xd0, 1, absurd))],
  ['an array within a map', section(0x77, compound(0xd1, 2, hex('a1 01 61'), absurd))],
  ['an array within a described value', section(0x77, Buffer.concat([hex('00 53 01'), absurd]))],
  ['an array in a descriptor', section(0x77, Buffer.concat([hex('00'), absurd, NULL]))],
  ['an array within an array', section(0x77, hex('f0 0000000e 00000001 f0 00000005 00001001 40'))],
  ['a list within an array', section(0x77, hex('f0 0000000e 00000001 d0 00000005 00000002 40'))],
  ['arrays that are too many together', section(0x77, compound(0xd0, 3, half, half, half))],
  [
    'lists that are too long together',
    section(0x77, compound(0xd0, 2, many(VALUES_PER_MESSAGE_MAX - 1), NULL)),
  ],
  ['data sections', pieces(SECTIONS_PER_MESSAGE_MAX + 1)],
  ['a sequence', section(0x76, compound(0xd0, 1, absurd))],
  [
    'sequences that are too many together',
    Buffer.concat([half, half, half].map((array) => section(0x76, compound(0xd0, 1, array)))),
  ],
  ['a footer', Buffer.concat([data, section(0x78, compound(0xd1, 2, hex('a3 01 61'), absurd))])],
  ['a header', Buffer.concat([section(0x70, compound(0xd0, 1, absurd)), data])],
  ['properties', Buffer.concat([section(0x73, compound(0xd0, 3, NULL, NULL)), data])],
  [
    'delivery annotations',
    Buffer.concat([section(0x71, compound(0xd1, 2, hex('a3 01 61'), absurd)), data]),
  ],
  [
    'message annotations',
    Buffer.concat([section(0x72, compound(0xd1, 2, hex('a3 01 61'), absurd)), data]),
  ],
  [
    'application properties',
    Buffer.concat([section(0x74, compound(0xd1, 2, hex('a1 01 61'), absurd)), data]),
  ],
]

for (const [what, bytes] of refused) {
  test(`too many elements are refused: ${what}`, (t) => {
    const error = t.throws(() => read(bytes), { instanceOf: AmqpError })
    t.is(error?.condition, 'amqp:decode-error')
  })
}

const taken: [string, Buffer][] = [
  ['as many nulls as there may be', section(0x77, nulls(ZERO_WIDTH_ELEMENTS_MAX))],
  ['as many values as there may be', section(0x77, many(VALUES_PER_MESSAGE_MAX))],
  ['as many data sections as there may be', pieces(SECTIONS_PER_MESSAGE_MAX)],
  ['an empty array', section(0x77, hex('e0 02 00 40'))],
  ['an array of integers', section(0x77, hex('e0 0a 02 71 00000001 00000002'))],
  ['an array of strings', section(0x77, hex('e0 06 02 a1 01 61 01 62'))],
  ['an array of lists', section(0x77, hex('e0 08 02 c0 02 01 40 02 01 40'))],
  ['a list of lists', section(0x77, compound(0xd0, 2, hex('45'), hex('c0 02 01 40')))],
]

for (const [what, bytes] of taken) {
  test(`a body is taken with ${what}`, (t) => {
    t.notThrows(() => read(bytes))
  })
}

test('the sender of too many elements is told, and no consumer gets the message', async (t) => {
  const { port } = await startAmqp(t)
  const client = await connectRhea(t, port)
  const sender = await client.sender('orders')
  const refusal = await sender.send(section(0x77, absurd), 0)
  t.is(refusal.kind, 'rejected')
  t.is(refusal.error?.condition, 'amqp:decode-error')
  t.is((await sender.send({ body: 'good' })).kind, 'accepted')
  const receiver = await client.receiver('orders')
  t.is((await receiver.accept(1))[0]!.body as string, 'good')
})

test('a record that holds too many elements already comes as bytes', (t) => {
  const body = section(0x77, absurd)
  const wire = encodeWire({ ...PLAIN_WIRE, form: 3 })
  const record = recordOf({ body, properties: encodeProperties([[PROPERTY.native, wire]]) })
  const message = new OutboundMessage()
  const out = Buffer.alloc(message.load(record, 1))
  message.write(out, 0, 0)
  const sections = new Sections()
  sections.scan(out, 0, out.length)
  t.is(out[sections.bodyAt + 2], 0x75)
  t.deepEqual(out.subarray(sections.contentAt, sections.contentEnd), body)
})
