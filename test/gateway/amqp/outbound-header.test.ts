// The header that a receiver gets is the one that the sender wrote, until a delivery has failed.
import test from 'ava'
import fc from 'fast-check'
import rhea from 'rhea'
import { Sections } from '../../../src/gateway/amqp/codec/sections.ts'
import { InboundMessage } from '../../../src/gateway/amqp/messages/inbound-message.ts'
import { OutboundMessage } from '../../../src/gateway/amqp/messages/outbound-message.ts'
import { encodeProperties } from '../../../src/model/properties.ts'
import { recordOf, section } from './message-bytes.ts'
import { encoded, rheaTypes as types } from './values.ts'

const BODY = section(0x77, types.wrap_string('x'))
const decode = rhea.message.decode as unknown as (bytes: Buffer) => Record<string, unknown>

/** What a receiver of the n-th delivery gets. */
function delivered(bytes: Buffer, attempt: number): Buffer {
  const inbound = new InboundMessage(undefined)
  inbound.read(bytes, 0, bytes.length, 0)
  const outbound = new OutboundMessage()
  const out = Buffer.alloc(outbound.load(recordOf(inbound), attempt))
  outbound.write(out, 0)
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
  outbound.write(out, 0)
  t.like(decode(out), { durable: true, first_acquirer: true, delivery_count: 0 })
})
