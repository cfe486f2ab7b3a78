// The codec alone: any chunking, any bytes, and back again. Failing runs print their seed.
import test from 'ava'
import fc from 'fast-check'
import { SharedSlice, systemClock } from '../../../../src/clock.ts'
import { MQTT_DEFAULTS } from '../../../../src/gateway/mqtt/options.ts'
import {
  ackId,
  ackReason,
  decodeAck,
  encodeAck,
} from '../../../../src/gateway/mqtt/packets/ack-packet.ts'
import { decodeAuth } from '../../../../src/gateway/mqtt/packets/auth-packet.ts'
import {
  ConnectRefused,
  decodeConnect,
  UnsupportedVersion,
} from '../../../../src/gateway/mqtt/packets/connect-packet.ts'
import {
  decodeDisconnect,
  encodeDisconnect,
} from '../../../../src/gateway/mqtt/packets/disconnect-packet.ts'
import { FrameSplitter } from '../../../../src/gateway/mqtt/packets/frame-splitter.ts'
import { PacketReader } from '../../../../src/gateway/mqtt/packets/packet-reader.ts'
import {
  encodeProperties,
  encodeVarint,
  type Properties,
  readProperties,
} from '../../../../src/gateway/mqtt/packets/properties.ts'
import {
  PACKET,
  ProtocolError,
  packetTooLarge,
  type Version,
} from '../../../../src/gateway/mqtt/packets/protocol.ts'
import { decodePublish, emptyPublish } from '../../../../src/gateway/mqtt/packets/publish-packet.ts'
import {
  decodeSubscribe,
  decodeUnsubscribe,
} from '../../../../src/gateway/mqtt/packets/subscribe-packet.ts'
import { decodeName, decodeText } from '../../../../src/gateway/mqtt/packets/utf8.ts'
import {
  connect,
  frame,
  publish,
  subscribe,
  unsubscribe,
  varint,
} from '../../../support/mqtt/mqtt-packets.ts'

interface Cut {
  readonly packets: string[]
  readonly heads: number[]
}

/** What a splitter makes of the chunks; `holdAt` packets are held and resumed at once. */
function split(
  chunks: readonly Buffer[],
  limit = 1_000_000,
  holdEvery = 0,
  beginningBytes: number | undefined = undefined,
): Cut {
  const cut: Cut = { packets: [], heads: [] }
  const splitter = new FrameSplitter(
    {
      packetBegins: (first) => cut.heads.push(first),
      packet: (first, bytes, start, end) => {
        cut.packets.push(`${first}:${bytes.toString('hex', start, end)}`)
        return holdEvery === 0 || cut.packets.length % holdEvery !== 0
      },
      oversized: (_, packetBytes, bytesMax) => {
        if (beginningBytes === undefined) throw packetTooLarge(packetBytes, bytesMax)
        return beginningBytes
      },
      beginning: (first, bytes, start, end) => {
        cut.packets.push(`${first}~${bytes.toString('hex', start, end)}`)
      },
    },
    limit,
  )
  const shared = Buffer.alloc(Math.max(1, ...chunks.map(({ length }) => length)))
  for (const chunk of chunks) {
    // Chunks are reused by the listener, so every one comes in the same memory.
    chunk.copy(shared)
    splitter.push(shared.subarray(0, chunk.length))
    shared.fill(0xee)
    while (splitter.isHeld) splitter.resume()
  }
  return cut
}

const packets = fc.array(
  fc.record({
    first: fc.integer({ min: 16, max: 255 }),
    body: fc.oneof(
      fc.uint8Array({ maxLength: 20 }),
      fc.uint8Array({ minLength: 100, maxLength: 20_000 }),
    ),
  }),
  { minLength: 1, maxLength: 12 },
)

test('a stream cut anywhere gives the same packets, held or not', (t) => {
  fc.assert(
    fc.property(
      packets,
      fc.array(fc.nat(5_000), { maxLength: 30 }),
      fc.nat(3),
      (list, cuts, hold) => {
        const stream = Buffer.concat(list.map(({ first, body }) => frame(first, body)))
        const chunks: Buffer[] = []
        let at = 0
        for (const cut of cuts) {
          const end = Math.min(stream.length, at + cut + 1)
          if (end > at) chunks.push(stream.subarray(at, end))
          at = end
        }
        if (at < stream.length) chunks.push(stream.subarray(at))
        const cut = split(chunks, 1_000_000, hold)
        t.deepEqual(
          cut.packets,
          list.map(({ first, body }) => `${first}:${Buffer.from(body).toString('hex')}`),
        )
        t.deepEqual(
          cut.heads,
          list.map(({ first }) => first),
        )
      },
    ),
    { numRuns: 300 },
  )
})

test('a stream in single bytes gives the same packets', (t) => {
  const stream = Buffer.concat([
    frame(0x30, Buffer.alloc(300, 1)),
    frame(0xc0),
    frame(0x40, Buffer.of(0, 1)),
  ])
  const whole = split([stream])
  t.deepEqual(split([...stream].map((byte) => Buffer.of(byte))), whole)
  t.is(whole.packets.length, 3)
})

test('of a packet over the limit only the beginning is handed on, wherever it is cut', (t) => {
  const stream = Buffer.concat([
    frame(0x32, Buffer.alloc(98, 7)),
    frame(0xc0),
    frame(0x30, Buffer.alloc(40_000, 8)),
    frame(0x30, Buffer.of(9)),
  ])
  const wanted = ['50~070707', '192:', '48~080808', '48:09']
  t.deepEqual(split([stream], 99, 0, 3).packets, wanted)
  t.deepEqual(split([stream], 99, 1, 3).packets, wanted)
  const single = [...stream].map((byte) => Buffer.of(byte))
  t.deepEqual(split(single, 99, 0, 3).packets, wanted)
})

test('the limit counts the whole packet, wherever it is cut', (t) => {
  const fits = frame(0x30, Buffer.alloc(97))
  const tooLong = frame(0x30, Buffer.alloc(98))
  t.is(fits.length, 99)
  t.is(split([fits], 99).packets.length, 1)
  t.throws(() => split([tooLong], 99), { instanceOf: ProtocolError })
  t.throws(
    () =>
      split(
        [...tooLong].map((byte) => Buffer.of(byte)),
        99,
      ),
    { instanceOf: ProtocolError },
  )
  const claim = Buffer.concat([Buffer.of(0x30), varint(200_000_000)])
  t.throws(() => split([claim], 99), { instanceOf: ProtocolError })
})

const slice = new SharedSlice(systemClock)

/** Every decoder over the same bytes. */
const DECODERS: Readonly<Record<string, (bytes: Buffer, version: Version) => unknown>> = {
  connect: (bytes) => decodeConnect(0x10, bytes, 0, bytes.length),
  publish: (bytes, version) => {
    decodePublish(emptyPublish(), 0x30 | (bytes.length & 15), bytes, 0, bytes.length, version === 5)
  },
  puback: (bytes, version) => decodeAck(PACKET.puback, bytes, 0, bytes.length, version === 5),
  pubrel: (bytes, version) => decodeAck(PACKET.pubrel, bytes, 0, bytes.length, version === 5),
  subscribe: (bytes, version) =>
    decodeSubscribe(bytes, 0, bytes.length, version, MQTT_DEFAULTS, slice),
  unsubscribe: (bytes, version) =>
    decodeUnsubscribe(bytes, 0, bytes.length, version, MQTT_DEFAULTS, slice),
  disconnect: (bytes, version) => decodeDisconnect(bytes, 0, bytes.length, version === 5),
  auth: (bytes) => decodeAuth(bytes, 0, bytes.length),
}

const isExpected = (error: unknown): boolean =>
  error instanceof ProtocolError ||
  error instanceof ConnectRefused ||
  error instanceof UnsupportedVersion

const valid: readonly Buffer[] = [
  connect('client', {
    version: 5,
    username: 'u',
    password: 'p',
    will: { topic: 'w', payload: 'x' },
  }),
  connect('client', { version: 4 }),
  publish('topic', 'payload', { qos: 1, version: 5, properties: Buffer.of(1, 1, 2, 0, 0, 0, 9) }),
  subscribe(
    9,
    [
      ['a/+/#', 1],
      ['$share/g/x', 0],
    ],
    5,
    Buffer.of(0x0b, 7),
  ),
  unsubscribe(9, ['a', 'b'], 5),
  encodeDisconnect(0x80, 'why', 1000),
  encodeAck(0x40, 7, 0x87, 'why', 1000),
].map((packet) => packet.subarray(2))

/** A valid body with some bytes changed, or bytes of no origin. */
const bodies = fc.oneof(
  fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes)),
  fc
    .tuple(
      fc.constantFrom(...valid),
      fc.array(fc.tuple(fc.nat(200), fc.integer({ min: 0, max: 255 })), { maxLength: 4 }),
      fc.nat(200),
    )
    .map(([body, changes, length]) => {
      const changed = Buffer.from(
        body.subarray(0, length % 3 === 0 ? length % (body.length + 1) : body.length),
      )
      for (const [at, byte] of changes) if (changed.length > 0) changed[at % changed.length] = byte
      return changed
    }),
)

for (const [name, decode] of Object.entries(DECODERS)) {
  test(`${name}: random bytes are refused by the protocol's own error or understood`, async (t) => {
    await fc.assert(
      fc.asyncProperty(bodies, fc.constantFrom<Version>(3, 4, 5), async (body, version) => {
        try {
          await decode(body, version)
        } catch (error) {
          if (!isExpected(error)) throw error
        }
      }),
      { numRuns: 3_000 },
    )
    t.pass()
  })
}

const text = fc
  .string({ unit: 'grapheme', maxLength: 20 })
  .filter((value) => !value.includes('\u0000'))
const properties = fc.record(
  {
    payloadFormat: fc.constantFrom(0, 1),
    messageExpiry: fc.integer({ min: 0, max: 0xffff_ffff }),
    contentType: text,
    responseTopic: text,
    correlationData: fc.uint8Array({ maxLength: 30 }).map((bytes) => Buffer.from(bytes)),
    subscriptionIds: fc.array(fc.integer({ min: 1, max: 268_435_455 }), {
      minLength: 1,
      maxLength: 4,
    }),
    topicAlias: fc.integer({ min: 0, max: 65_535 }),
    user: fc.array(fc.tuple(text, text), { minLength: 1, maxLength: 8 }),
  },
  { requiredKeys: [] },
) as fc.Arbitrary<Properties>

test('properties come back as they were written', (t) => {
  fc.assert(
    fc.property(properties, (given) => {
      const section = encodeProperties(given)
      const bytes = Buffer.concat([encodeVarint(section.length), section])
      const reader = new PacketReader(bytes, 0, bytes.length)
      t.deepEqual(readProperties(reader, PACKET.publish), given)
      t.is(reader.left, 0)
    }),
    { numRuns: 500 },
  )
})

test('acknowledgements come back with id and reason', (t) => {
  for (const reason of [0x80, 0x83, 0x87, 0x90, 0x97]) {
    for (const words of [undefined, 'because']) {
      const packet = encodeAck(0x40, 65_535, reason, words, 100)
      const ack = decodeAck(PACKET.puback, packet, 2, packet.length, true)
      t.deepEqual([ackId(ack), ackReason(ack)], [65_535, reason])
    }
  }
  const cut = encodeAck(0x40, 1, 0x80, 'x'.repeat(100), 50)
  t.is(cut.length, 5, 'a reason that does not fit is left out')
})

test('text is decoded as Node does, and refused exactly where the standard says', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 12 }), (bytes) => {
      const buffer = Buffer.from(bytes)
      const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
      let expected: string | undefined
      try {
        expected = strict.decode(buffer)
      } catch {
        expected = undefined
      }
      if (expected?.includes('\u0000')) expected = undefined
      t.is(decodeText(buffer, 0, buffer.length), expected)
    }),
    { numRuns: 3_000 },
  )
  for (const bad of ['\u0001', '\u001f', '\u007f', '\u009f', '\ufdd0', '\uffff', '\u{1ffff}']) {
    const buffer = Buffer.from(`a${bad}`)
    t.is(decodeName(buffer, 0, buffer.length), undefined, JSON.stringify(bad))
    t.is(decodeText(buffer, 0, buffer.length), `a${bad}`)
  }
  const fine = Buffer.from('\ufeffä温🌡')
  t.is(decodeName(fine, 0, fine.length), '\ufeffä温🌡')
})
