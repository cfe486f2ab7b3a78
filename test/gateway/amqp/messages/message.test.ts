import { createRequire } from 'node:module'
import test from 'ava'
import fc from 'fast-check'
import rhea from 'rhea'
import { BrokerError } from '../../../../src/errors.ts'
import { Sections } from '../../../../src/gateway/amqp/codec/sections.ts'
import { decodeWire } from '../../../../src/gateway/amqp/codec/wire-form.ts'
import { AmqpError } from '../../../../src/gateway/amqp/errors.ts'
import { InboundMessage } from '../../../../src/gateway/amqp/messages/inbound-message.ts'
import { OutboundMessage } from '../../../../src/gateway/amqp/messages/outbound-message.ts'
import { decodeProperties, encodeProperties, PROPERTY } from '../../../../src/model/properties.ts'
import type { RecordView } from '../../../../src/model/record.ts'
import { encoded, rheaTypes as types } from '../codec/values.ts'
import { anyMessage, bytesOf, recordOf, section } from '../message-bytes.ts'

interface RheaMessage {
  encode(message: object): Buffer
  decode(bytes: Buffer): Record<string, unknown>
  data_section(bytes: Buffer): object
  sequence_section(list: unknown[]): object
}

const rheaMessage = createRequire(import.meta.url)('rhea/lib/message.js') as RheaMessage

function read(bytes: Buffer, tagDefault?: string): InboundMessage {
  const message = new InboundMessage(tagDefault)
  message.read(bytes, 0, bytes.length, 0)
  return message
}

const propertiesOf = (message: InboundMessage): Record<string, string> => {
  const properties = Object.fromEntries(decodeProperties(message.properties))
  delete properties[PROPERTY.native]
  return properties
}

function rendered(record: RecordView, attempt = 1, outbound = new OutboundMessage()): Buffer {
  const size = outbound.load(record, attempt)
  const bytes = Buffer.alloc(size)
  const end = outbound.write(bytes, 0, 0)
  if (end !== size) throw new Error(`${end} bytes written where ${size} were announced`)
  return bytes
}

function bareOf(bytes: Buffer): Buffer {
  const sections = new Sections()
  sections.scan(bytes, 0, bytes.length)
  const from =
    sections.propertiesAt < sections.propertiesEnd ? sections.propertiesAt : sections.bodyAt
  return bytes.subarray(from)
}

test('whatever bare message comes in goes out again byte for byte', (t) => {
  const inbound = new InboundMessage(undefined)
  const outbound = new OutboundMessage()
  fc.assert(
    fc.property(anyMessage, fc.nat(3), (message, attempts) => {
      const bytes = bytesOf(message)
      inbound.read(bytes, 0, bytes.length, 0)
      const out = rendered(recordOf(inbound), attempts + 1, outbound)
      t.deepEqual(bareOf(out), message.bare)
    }),
    { numRuns: 500 },
  )
})

test('the same message after another is the same again: nothing sticks', (t) => {
  const inbound = new InboundMessage(undefined)
  fc.assert(
    fc.property(anyMessage, anyMessage, (one, other) => {
      const bytes = bytesOf(one)
      const before = read(bytes)
      for (const next of [bytesOf(other), bytes, bytes]) inbound.read(next, 0, next.length, 0)
      t.deepEqual(inbound.properties, before.properties)
      t.deepEqual(inbound.body, before.body)
      t.is(inbound.to, before.to)
      t.is(inbound.orderingKey, before.orderingKey)
    }),
  )
})

test('what another client decodes is what its twin encoded', (t) => {
  const sent = {
    subject: 'TagA',
    message_id: 'm-1',
    correlation_id: 7,
    group_id: 'order-17',
    content_type: 'text/plain',
    application_properties: { a: 1, b: 'x', c: true, KEYS: 'k1 k2' },
    message_annotations: { 'x-opt-mine': 'yes' },
    priority: 7,
    ttl: 5000,
    body: 'hello',
  }
  const got = rheaMessage.decode(rendered(recordOf(read(rheaMessage.encode(sent))), 3))
  t.like(got, { ...sent, message_annotations: { 'x-opt-mine': 'yes' }, delivery_count: 2 })
  t.falsy(got['first_acquirer'])
})

test('a message becomes what other protocols understand', (t) => {
  const message = read(
    rheaMessage.encode({
      subject: 'TagA',
      message_id: 'm-1',
      group_id: 'order-17',
      to: 'orders',
      application_properties: {
        count: 1,
        color: 'red',
        on: true,
        KEYS: 'k1',
        TAGS: 'no',
        DELAY: '3',
      },
      body: rheaMessage.data_section(Buffer.from([1, 2, 3])),
    }),
  )
  t.deepEqual([...message.body], [1, 2, 3])
  t.is(message.orderingKey, 'order-17')
  t.is(message.to, 'orders')
  t.deepEqual(propertiesOf(message), {
    TAGS: 'TagA',
    KEYS: 'k1',
    UNIQ_KEY: 'm-1',
    __SHARDINGKEY: 'order-17',
    count: '1',
    color: 'red',
    on: 'true',
  })
})

test('text and bytes as a value are plain bodies to others', (t) => {
  t.is(String(Buffer.from(read(rheaMessage.encode({ body: 'grüß' })).body)), 'grüß')
  t.deepEqual([...read(rheaMessage.encode({ body: Buffer.from([9]) })).body], [9])
})

test('a body of another kind is kept as its encoded section', (t) => {
  const body = section(0x77, types.wrap({ a: [1, 2] }))
  const message = read(Buffer.concat([section(0x73, types.List32([])), body]))
  t.deepEqual(Buffer.from(message.body), body)
})

test('a subject that is no legal tag stays a subject', (t) => {
  for (const subject of ['a b', 'a||b', '*', 'a\u0001b', '']) {
    const message = read(rheaMessage.encode({ subject, body: 'x' }))
    t.false(Object.hasOwn(propertiesOf(message), 'TAGS'))
    t.is(rheaMessage.decode(rendered(recordOf(message)))['subject'], subject)
  }
})

test("annotations order tag, keys and delay, and a peer's own ones pass", (t) => {
  const message = read(
    rheaMessage.encode({
      subject: 'ignored',
      message_annotations: {
        'x-opt-rmq-tag': 'TagB',
        'x-opt-rmq-keys': 'k1 k2',
        'x-opt-rmq-queue': 99,
        'x-opt-delivery-time': 1_800_000_000_000,
        'x-opt-mine': 1,
      },
      body: 'x',
    }),
  )
  t.like(propertiesOf(message), { TAGS: 'TagB', KEYS: 'k1 k2', TIMER_DELIVER_MS: '1800000000000' })
  const annotations = rheaMessage.decode(rendered(recordOf(message)))['message_annotations']
  t.like(annotations, { 'x-opt-mine': 1, 'x-opt-rmq-queue': 3, 'x-opt-rmq-tag': 'TagB' })
})

test("the target's tag counts when the message has none", (t) => {
  t.is(propertiesOf(read(rheaMessage.encode({ body: 'x' }), 'TagC'))['TAGS'], 'TagC')
  t.is(propertiesOf(read(rheaMessage.encode({ subject: 'A', body: 'x' }), 'TagC'))['TAGS'], 'A')
})

test('a content type that is no symbol is left out, and the rest is read', (t) => {
  for (const [contentType, shown] of [
    ['text/plain', 'text/plain'],
    ['text/plain; name=数', undefined],
    ['text/ü', undefined],
  ]) {
    const properties = encodeProperties([
      ['CONTENT_TYPE', contentType!],
      ['color', 'red'],
    ])
    const got = rheaMessage.decode(rendered(recordOf({ body: Buffer.from('x'), properties })))
    t.is(got['content_type'] ?? undefined, shown)
    t.like(got, { application_properties: { color: 'red' } })
  }
})

test('a record of another protocol is rendered the same every time', (t) => {
  const properties = encodeProperties([
    ['TAGS', 'TagA'],
    ['KEYS', 'k1'],
    ['UNIQ_KEY', 'ID1'],
    ['__SHARDINGKEY', 'order-17'],
    ['color', 'red'],
    ['WAIT', 'true'],
  ])
  const record = recordOf({ body: Buffer.from('hello'), properties }, 'a%2Eb')
  const got = rheaMessage.decode(rendered(record))
  t.deepEqual(rendered(record), rendered(record))
  t.like(got, {
    durable: true,
    delivery_count: 0,
    first_acquirer: true,
    message_id: 'ID1',
    to: 'a.b',
    subject: 'TagA',
    group_id: 'order-17',
    application_properties: { KEYS: 'k1', color: 'red' },
  })
  t.deepEqual((got['body'] as { content: Buffer }).content, Buffer.from('hello'))
  t.like(got['message_annotations'] as object, {
    'x-opt-rmq-topic': 'a%2Eb',
    'x-opt-rmq-tag': 'TagA',
    'x-opt-rmq-keys': 'k1',
    'x-opt-rmq-queue': 3,
    'x-opt-rmq-offset': 42,
    'x-opt-rmq-msg-id': '7F00000100002A9F0000123456789ABC',
  })
  t.deepEqual(got['creation_time'], new Date(1_700_000_000_000))
})

test('a retried record names its first topic', (t) => {
  const properties = encodeProperties([['RETRY_TOPIC', 'orders']])
  const got = rheaMessage.decode(
    rendered(recordOf({ body: Buffer.from('x'), properties }, '%RETRY%billing'), 2),
  )
  t.like(got, {
    to: 'orders',
    delivery_count: 1,
    message_annotations: { 'x-opt-rmq-topic': 'orders' },
  })
})

test('every property another protocol can store gives a message that decodes', (t) => {
  const pair = fc.tuple(fc.string({ unit: 'grapheme', minLength: 1 }), fc.string({ minLength: 1 }))
  fc.assert(
    fc.property(fc.array(pair), fc.uint8Array({ maxLength: 600 }), (pairs, bytes) => {
      const properties = encodeProperties(pairs)
      const out = rendered(recordOf({ body: Buffer.from(bytes), properties }))
      const { content } = rheaMessage.decode(out)['body'] as { content: Buffer }
      t.deepEqual(content, Buffer.from(bytes))
    }),
  )
})

test('a forged wire form is either sound or ignored', (t) => {
  const forged = fc.uint8Array({ maxLength: 80 }).map((bytes) => {
    return Buffer.concat([Buffer.from([0xa1]), bytes]).toString('base64')
  })
  fc.assert(
    fc.property(forged, fc.uint8Array({ maxLength: 300 }), (text, bytes) => {
      const properties = encodeProperties([[PROPERTY.native, text]])
      const out = rendered(recordOf({ body: Buffer.from(bytes), properties }))
      if (decodeWire(text)?.format) return
      const sections = new Sections()
      sections.scan(out, 0, out.length)
      t.deepEqual(out.subarray(sections.contentAt, sections.contentEnd), Buffer.from(bytes))
    }),
    { numRuns: 1000 },
  )
  t.pass()
})

for (const [what, code] of [
  ['delivery annotations', 0x71],
  ['message annotations', 0x72],
] as const) {
  test(`a wire form with ${what} behind the message annotations is ignored`, (t) => {
    const value = types.Map32([types.wrap_string('k'), types.wrap_string('v')])
    const inbound = read(Buffer.concat([section(0x74, value), section(0x77, types.wrap(1))]))
    const properties = decodeProperties(inbound.properties)
    const wire = Buffer.from(properties.get(PROPERTY.native)!, 'base64')
    wire[wire.indexOf(Buffer.of(0, 0x53, 0x74)) + 2] = code
    properties.set(PROPERTY.native, wire.toString('base64'))
    const forged = { body: inbound.body, properties: encodeProperties(properties) }
    const out = rendered(recordOf(forged))
    t.notThrows(() => new Sections().scan(out, 0, out.length))
  })
}

test('a mutated wire form is either sound or ignored', (t) => {
  fc.assert(
    fc.property(anyMessage, fc.nat(), fc.nat(255), (message, at, byte) => {
      const inbound = read(bytesOf(message))
      const properties = decodeProperties(inbound.properties)
      const wire = Buffer.from(properties.get(PROPERTY.native) ?? '', 'base64')
      wire[at % wire.length] = byte
      properties.set(PROPERTY.native, wire.toString('base64'))
      const forged = { body: inbound.body, properties: encodeProperties(properties) }
      const out = rendered(recordOf(forged))
      if (decodeWire(wire.toString('base64'))?.format) return
      new Sections().scan(out, 0, out.length)
    }),
    { numRuns: 1000 },
  )
  t.pass()
})

test('random and mutated messages are read or refused, and nothing else happens', (t) => {
  const change = fc.tuple(fc.nat(), fc.nat(255))
  fc.assert(
    fc.property(anyMessage, fc.array(change, { maxLength: 3 }), (message, changes) => {
      const bytes = bytesOf(message)
      for (const [at, byte] of changes) bytes[at % bytes.length] = byte
      try {
        read(bytes)
      } catch (error) {
        t.true(error instanceof AmqpError || error instanceof BrokerError, String(error))
      }
    }),
    { numRuns: 1000 },
  )
  t.pass()
})

for (const [what, bytes] of [
  [
    'sections out of order',
    Buffer.concat([
      section(0x75, types.wrap_binary(Buffer.of(1))),
      section(0x73, types.List32([])),
    ]),
  ],
  [
    'a section twice',
    Buffer.concat([section(0x73, types.List32([])), section(0x73, types.List32([]))]),
  ],
  [
    'two kinds of body',
    Buffer.concat([section(0x75, types.wrap_binary(Buffer.of(1))), section(0x77, types.wrap('x'))]),
  ],
  ['properties that are a map', section(0x73, types.Map32([]))],
  ['an unknown section', section(0x60, types.List32([]))],
  ['no section at all', Buffer.from('hello')],
] as const) {
  test(`a message with ${what} is refused`, (t) => {
    const error = t.throws(() => read(bytes), { instanceOf: AmqpError })
    t.is(error?.condition, 'amqp:decode-error')
  })
}

test('sections too large for a record are refused, not cut', (t) => {
  const application_properties = { big: 'x'.repeat(70_000) }
  const bytes = rheaMessage.encode({ application_properties, body: 'x' })
  const error = t.throws(() => read(bytes), { instanceOf: BrokerError })
  t.is(error?.code, 'MESSAGE_TOO_LARGE')
})

test('a message of an unknown format passes whole', (t) => {
  const payload = Buffer.from('not sections at all')
  const message = new InboundMessage(undefined)
  message.read(payload, 0, payload.length, 0x80013700)
  const outbound = new OutboundMessage()
  t.deepEqual(rendered(recordOf(message), 1, outbound), payload)
  t.is(outbound.format, 0x80013700)
})

test('records that differ in their unique id alone are rendered each with its own', (t) => {
  const outbound = new OutboundMessage()
  const id = fc.string({
    unit: fc.constantFrom('a', 'b', '7', ' ', 'é', '😀'),
    minLength: 1,
    maxLength: 4,
  })
  const around = fc.array(fc.tuple(fc.constantFrom('a', 'xUNIQ_KEY', 'KEYS', 'b'), id))
  fc.assert(
    fc.property(
      fc.array(fc.tuple(around, fc.option(id), fc.boolean()), { minLength: 1 }),
      (all) => {
        for (const [pairs, unique, isLast] of all) {
          const own: [string, string][] = unique === null ? [] : [['UNIQ_KEY', unique]]
          const entries = isLast ? [...pairs, ...own] : [...own, ...pairs]
          const record = recordOf({ body: Buffer.from('x'), properties: encodeProperties(entries) })
          t.deepEqual(rendered(record, 1, outbound), rendered(record))
          const got = rheaMessage.decode(rendered(record, 1, outbound))
          t.is(got['message_id'] ?? null, unique)
        }
      },
    ),
  )
})

// The header that a receiver gets is the one that the sender wrote, until a delivery has failed.

const BODY = section(0x77, types.wrap_string('x'))
const decode = rhea.message.decode as unknown as (bytes: Buffer) => Record<string, unknown>

/** What a receiver of the n-th delivery gets. */
function delivered(bytes: Buffer, attempt: number): Buffer {
  const inbound = new InboundMessage(undefined)
  inbound.read(bytes, 0, bytes.length, 0)
  const outbound = new OutboundMessage()
  const out = Buffer.alloc(outbound.load(recordOf(inbound), attempt))
  outbound.write(out, 0, 0)
  return out
}

const maybe = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | null> => fc.option(arbitrary)
const anyHeader = fc
  .tuple(
    maybe(fc.boolean().map(types.wrap_boolean)),
    maybe(fc.nat(255).map(types.wrap_ubyte)),
    maybe(fc.nat(0xffff_ffff).map(types.wrap_uint)),
    maybe(fc.boolean().map(types.wrap_boolean)),
    maybe(fc.nat(0xffff_ffff).map(types.wrap_uint)),
  )
  .map((fields) => fields.map((field) => field ?? types.wrap(null)))
const shortened = anyHeader.chain((fields) =>
  fc.nat(fields.length).map((count) => fields.slice(0, count)),
)

test('on the first delivery a header is the same to the last byte', (t) => {
  fc.assert(
    fc.property(shortened, fc.constantFrom(types.List8, types.List32), (fields, list) => {
      const header = encoded(list(fields))
      const out = delivered(Buffer.concat([section(0x70, list(fields)), BODY]), 1)
      const sections = new Sections()
      sections.scan(out, 0, out.length)
      t.deepEqual(out.subarray(sections.headerAt, sections.headerEnd), header)
    }),
  )
})

test('a message without a header has none', (t) => {
  const out = delivered(BODY, 1)
  const sections = new Sections()
  sections.scan(out, 0, out.length)
  t.is(sections.headerAt, sections.headerEnd)
})

test('a later delivery adds the failed attempts and is not acquired first; the rest is as sent', (t) => {
  const given = {
    durable: false,
    priority: 7,
    ttl: 60_000,
    first_acquirer: true,
    delivery_count: 3,
  }
  const sent = rhea.message.encode({ ...given, body: 'x' }) as unknown as Buffer
  t.like(decode(delivered(sent, 1)), given)
  t.like(decode(delivered(sent, 3)), { ...given, first_acquirer: false, delivery_count: 5 })
})

test('a later delivery of a message without a header has a count alone', (t) => {
  const message = decode(delivered(BODY, 301))
  t.is(message['delivery_count'], 300)
  for (const name of ['durable', 'priority', 'ttl', 'first_acquirer']) {
    t.falsy(message[name], name)
  }
})

test('a count at the end of its range stays there', (t) => {
  const sent = rhea.message.encode({ delivery_count: 0xffff_ffff, body: 'x' }) as unknown as Buffer
  t.is(decode(delivered(sent, 2))['delivery_count'], 0xffff_ffff)
})

test('a record of another protocol is durable and acquired first', (t) => {
  const outbound = new OutboundMessage()
  const record = recordOf({ body: Buffer.from('x'), properties: encodeProperties([]) })
  const out = Buffer.alloc(outbound.load(record, 1))
  outbound.write(out, 0, 0)
  t.like(decode(out), { durable: true, first_acquirer: true, delivery_count: 0 })
})
