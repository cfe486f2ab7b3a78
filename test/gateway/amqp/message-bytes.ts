// Arbitrary AMQP messages as bytes, and a record made of one as the log would keep it.
import fc from 'fast-check'
import type { InboundMessage } from '../../../src/gateway/amqp/messages/inbound-message.ts'
import { RecordView, recordBytes, writeRecord } from '../../../src/model/record.ts'
import { anyValue, encoded, scalar, rheaTypes as t } from './codec/values.ts'

export const section = (code: number, value: { value: unknown }): Buffer =>
  Buffer.concat([Buffer.from([0, 0x53, code]), encoded(value)])

const described = (descriptor: Buffer, value: Buffer): Buffer =>
  Buffer.concat([Buffer.from([0]), descriptor, value])

const binary = fc.uint8Array({ maxLength: 600 }).map((bytes) => Buffer.from(bytes))

function vbin(bytes: Buffer, wide: boolean, code = 0xa0): Buffer {
  if (bytes.length < 256 && !wide) return Buffer.concat([Buffer.from([code, bytes.length]), bytes])
  const head = Buffer.alloc(5)
  head[0] = code | 0x10
  head.writeUInt32BE(bytes.length, 1)
  return Buffer.concat([head, bytes])
}

/** The three ways to write a descriptor. */
const descriptor = (code: number, symbol: string): fc.Arbitrary<Buffer> =>
  fc.constantFrom(
    Buffer.from([0x53, code]),
    Buffer.from([0x80, 0, 0, 0, 0, 0, 0, 0, code]),
    Buffer.concat([Buffer.from([0xa3, symbol.length]), Buffer.from(symbol)]),
  )

const symbolMap = fc
  .uniqueArray(fc.tuple(fc.string({ minLength: 1 }), scalar), {
    maxLength: 4,
    selector: ([key]) => key,
  })
  .map((pairs) => t.Map32(pairs.flatMap(([key, value]) => [t.wrap_symbol(`x-${key}`), value])))

const stringMap = fc
  .uniqueArray(fc.tuple(fc.string(), scalar), { maxLength: 5, selector: ([key]) => key })
  .map((pairs) => t.Map32(pairs.flatMap(([key, value]) => [t.wrap_string(key), value])))

const id = fc.oneof(
  fc.string().map(t.wrap_string),
  fc.maxSafeNat().map(t.wrap_ulong),
  fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => t.wrap_uuid(Buffer.from(bytes))),
  fc.constant(t.wrap(null)),
)
const text = fc.option(fc.string()).map((value) => t.wrap(value))
const symbol = fc
  .option(fc.string())
  .map((value) => (value === null ? t.wrap(null) : t.wrap_symbol(value)))
const time = fc
  .option(fc.nat(4_000_000_000))
  .map((value) => (value === null ? t.wrap(null) : t.wrap_timestamp(value)))
const propertyList = fc
  .tuple(id, fc.constant(t.wrap(null)), text, text, text, id, symbol, symbol, time, time, text)
  .chain((fields) => fc.nat(fields.length).map((count) => t.List32(fields.slice(0, count))))

const body: fc.Arbitrary<Buffer> = fc.oneof(
  fc
    .tuple(descriptor(0x75, 'amqp:data:binary'), binary, fc.boolean())
    .map(([code, bytes, wide]) => described(code, vbin(bytes, wide))),
  fc
    .tuple(descriptor(0x77, 'amqp:amqp-value:*'), binary, fc.boolean())
    .map(([code, bytes, wide]) => described(code, vbin(bytes, wide))),
  fc
    .tuple(fc.string({ maxLength: 300 }), fc.boolean())
    .map(([words, wide]) =>
      described(Buffer.from([0x53, 0x77]), vbin(Buffer.from(words), wide, 0xa1)),
    ),
  anyValue.map((value) => described(Buffer.from([0x53, 0x77]), encoded(value))),
  fc
    .array(binary, { minLength: 2, maxLength: 3 })
    .map((parts) =>
      Buffer.concat(parts.map((part) => described(Buffer.from([0x53, 0x75]), vbin(part, false)))),
    ),
  fc
    .array(fc.array(scalar, { maxLength: 4 }), { minLength: 1, maxLength: 3 })
    .map((lists) => Buffer.concat(lists.map((list) => section(0x76, t.List32(list))))),
)

const maybe = (bytes: fc.Arbitrary<Buffer>): fc.Arbitrary<Buffer> =>
  fc.option(bytes, { nil: Buffer.alloc(0) })

export interface MessageBytes {
  readonly header: Buffer
  readonly annotations: Buffer
  /** What may not change: everything behind the annotations. */
  readonly bare: Buffer
}

export const anyMessage: fc.Arbitrary<MessageBytes> = fc.record({
  header: maybe(
    fc
      .tuple(fc.boolean(), fc.nat(9), fc.nat(100_000))
      .map(([durable, priority, ttl]) =>
        section(
          0x70,
          t.List32([t.wrap_boolean(durable), t.wrap_ubyte(priority), t.wrap_uint(ttl)]),
        ),
      ),
  ),
  annotations: maybe(symbolMap.map((map) => section(0x72, map))),
  bare: fc
    .tuple(
      maybe(propertyList.map((list) => section(0x73, list))),
      maybe(stringMap.map((map) => section(0x74, map))),
      body,
      maybe(symbolMap.map((map) => section(0x78, map))),
    )
    .map((sections) => Buffer.concat(sections)),
})

export const bytesOf = ({ header, annotations, bare }: MessageBytes): Buffer =>
  Buffer.concat([header, annotations, bare])

export function recordOf(
  message: Pick<InboundMessage, 'body' | 'properties'>,
  topic = 'T',
): RecordView {
  const draft = {
    topic,
    queueId: 3,
    flag: 0,
    sysFlag: 0,
    bornTimestamp: 1_700_000_000_000,
    bornHost: { ip: 0x7f000001, port: 50_000 },
    reconsumeTimes: 0,
    preparedPosition: 0,
    body: message.body,
    properties: message.properties,
  }
  const bytes = Buffer.alloc(recordBytes(draft))
  writeRecord(bytes, 0, draft, {
    queueOffset: 42,
    position: 0x1234_5678_9abc,
    storeTimestamp: 1_700_000_000_123,
    storeHost: { ip: 0x7f000001, port: 10_911 },
  })
  return new RecordView(bytes)
}
