import test from 'ava'
import fc from 'fast-check'
import { BrokerError } from '../../src/errors.ts'
import {
  FRAME_BYTES_MAX,
  FRAME_BYTES_MAX_UNAUTHENTICATED,
  FrameSplitter,
} from '../../src/remoting/frame.ts'

/** Splits `chunks` and answers each frame as [codec, header, body]. */
function split(chunks: readonly Buffer[], bytesMax = FRAME_BYTES_MAX): [number, string, string][] {
  const frames: [number, string, string][] = []
  const splitter = new FrameSplitter((bytes, headerAt, bodyAt, end, codec) => {
    frames.push([
      codec,
      bytes.toString('hex', headerAt, bodyAt),
      bytes.toString('hex', bodyAt, end),
    ])
  }, bytesMax)
  for (const chunk of chunks) {
    // As the socket does: the chunk is reused once the call is over.
    const copy = Buffer.from(chunk)
    splitter.push(copy)
    copy.fill(0xee)
  }
  return frames
}

function frame(codec: number, header: Uint8Array, body: Uint8Array): Buffer {
  const prefix = Buffer.alloc(8)
  prefix.writeInt32BE(4 + header.length + body.length)
  prefix.writeInt32BE((codec << 24) | header.length, 4)
  return Buffer.concat([prefix, header, body])
}

const anyFrame = fc.record({
  codec: fc.constantFrom(0, 1),
  header: fc.uint8Array({ maxLength: 300 }),
  body: fc.uint8Array({ maxLength: 6000 }),
})

test('any chunking of a stream of frames gives the same frames', (t) => {
  fc.assert(
    fc.property(
      fc.array(anyFrame, { maxLength: 8 }),
      fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1, maxLength: 20 }),
      (frames, sizes) => {
        const stream = Buffer.concat(frames.map((f) => frame(f.codec, f.header, f.body)))
        const chunks: Buffer[] = []
        for (let at = 0, i = 0; at < stream.length; i++) {
          const size = sizes[i % sizes.length]!
          chunks.push(stream.subarray(at, at + size))
          at += size
        }
        const wanted = frames.map((f) => [
          f.codec,
          Buffer.from(f.header).toString('hex'),
          Buffer.from(f.body).toString('hex'),
        ])
        t.deepEqual(split(chunks), wanted as [number, string, string][])
      },
    ),
  )
})

test('a stream fed one byte at a time gives its frames', (t) => {
  const stream = Buffer.concat([
    frame(0, Buffer.from('one'), Buffer.alloc(0)),
    frame(1, Buffer.alloc(0), Buffer.from('two')),
    frame(0, Buffer.from('three'), Buffer.alloc(5000, 7)),
  ])
  const bytes = Array.from(stream, (_, at) => stream.subarray(at, at + 1))
  t.deepEqual(split(bytes), split([stream]))
  t.is(split(bytes).length, 3)
})

test('random bytes end in frames or in a protocol error, never in another error', (t) => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 64 }), { maxLength: 10 }), (chunks) => {
      try {
        split(chunks.map((chunk) => Buffer.from(chunk)))
      } catch (error) {
        t.true(error instanceof BrokerError && error.code === 'PROTOCOL_ERROR', String(error))
      }
    }),
  )
  t.pass()
})

const refused = (bytes: Buffer, limit?: number) => () => split([bytes], limit)

test('a frame that claims 2 GiB is refused by its length word alone', (t) => {
  const error = t.throws(refused(Buffer.from('7fffffff', 'hex')), { instanceOf: BrokerError })
  t.regex(error.message, /claims 2147483647 bytes/)
})

test('negative and too small lengths are refused', (t) => {
  t.throws(refused(Buffer.from('ffffffff', 'hex')), { instanceOf: BrokerError })
  t.throws(refused(Buffer.from('00000003000000', 'hex')), { instanceOf: BrokerError })
})

test('a header longer than its frame is refused', (t) => {
  const error = t.throws(refused(Buffer.from('0000000400000001', 'hex')), {
    instanceOf: BrokerError,
  })
  t.regex(error.message, /claims a header of 1 bytes/)
})

test('a header over its limit is refused, and a body of that length is not', (t) => {
  const splitter = new FrameSplitter(() => {}, FRAME_BYTES_MAX, 100)
  splitter.push(frame(0, Buffer.alloc(100), Buffer.alloc(101)))
  t.throws(() => splitter.push(frame(0, Buffer.alloc(101), Buffer.alloc(0))), {
    message: /header of 101 bytes; 100 are allowed/,
  })
})

test('an unknown header codec is refused', (t) => {
  t.throws(refused(Buffer.from('0000000402000000', 'hex')), { instanceOf: BrokerError })
})

test('the limit before authentication is lower and can be raised between chunks', (t) => {
  const big = frame(0, Buffer.alloc(FRAME_BYTES_MAX_UNAUTHENTICATED), Buffer.alloc(0))
  t.throws(refused(big, FRAME_BYTES_MAX_UNAUTHENTICATED), { message: /before authentication/ })
  let frames = 0
  const splitter = new FrameSplitter(() => frames++, FRAME_BYTES_MAX_UNAUTHENTICATED)
  splitter.push(frame(0, Buffer.from('login'), Buffer.alloc(0)))
  splitter.frameBytesMax = FRAME_BYTES_MAX
  splitter.push(big)
  t.is(frames, 2)
})

test('a claimed large frame costs only the bytes that came', (t) => {
  const before = process.memoryUsage().arrayBuffers
  const splitters = Array.from({ length: 200 }, () => {
    const splitter = new FrameSplitter(() => {})
    splitter.push(Buffer.from('00ffffff000000', 'hex'))
    return splitter
  })
  t.true(process.memoryUsage().arrayBuffers - before < 16 * 1024 * 1024)
  t.is(splitters.length, 200)
})

test('a splitter that is stopped leaves what follows the frame, and begins anew with it', (t) => {
  const heard: string[] = []
  const splitter = new FrameSplitter((bytes, headerAt, bodyAt) => {
    heard.push(bytes.toString('latin1', headerAt, bodyAt))
    splitter.stop()
  })
  const chunk = Buffer.concat(
    ['one', 'two'].map((name) => frame(0, Buffer.from(name), Buffer.alloc(0))),
  )
  const [first, second] = [chunk.subarray(0, 5), chunk.subarray(5)]
  t.is(splitter.push(first), 5)
  const taken = splitter.push(second)
  t.deepEqual(heard, ['one'])
  t.is(taken, chunk.length / 2 - 5)
  t.is(splitter.push(second.subarray(taken)), chunk.length / 2)
  t.deepEqual(heard, ['one', 'two'])
})
