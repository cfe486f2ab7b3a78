import test from 'ava'
import fc from 'fast-check'
import { type FrameSink, FrameSplitter } from '../../../src/gateway/amqp/codec/frame-splitter.ts'
import { AmqpError } from '../../../src/gateway/amqp/errors.ts'

const HEADER = Buffer.from('AMQP\u0000\u0001\u0000\u0000', 'latin1')
const FRAME_BYTES_MAX = 512

/** Notes what it is given; may ask for a pause after any piece. */
class Notes implements FrameSink {
  readonly pieces: string[] = []
  holdAfter = Number.POSITIVE_INFINITY

  onHeader(id: number): boolean {
    this.pieces.push(`header ${id}`)
    return this.pieces.length !== this.holdAfter
  }

  onFrame(type: number, channel: number, bytes: Buffer, at: number, end: number): boolean {
    this.pieces.push(`${type} ${channel} ${bytes.toString('hex', at, end)}`)
    return this.pieces.length !== this.holdAfter
  }
}

function frame(body: Uint8Array, channel = 0, type = 0, doff = 2): Buffer {
  const head = Buffer.alloc(doff * 4)
  head.writeUInt32BE(head.length + body.length)
  head[4] = doff
  head[5] = type
  head.writeUInt16BE(channel, 6)
  return Buffer.concat([head, body])
}

function split(chunks: readonly Buffer[]): { pieces: string[]; error: string | undefined } {
  const notes = new Notes()
  const splitter = new FrameSplitter(notes, FRAME_BYTES_MAX)
  try {
    for (const chunk of chunks) splitter.push(chunk)
  } catch (error) {
    if (!(error instanceof AmqpError)) throw error
    return { pieces: notes.pieces, error: error.condition }
  }
  return { pieces: notes.pieces, error: undefined }
}

test('frames come out whole wherever the chunks end', (t) => {
  const body = fc.uint8Array({ maxLength: 200 })
  const cuts = fc.array(fc.nat(2000), { maxLength: 12 })
  fc.assert(
    fc.property(fc.array(body, { maxLength: 12 }), cuts, (bodies, at) => {
      const stream = Buffer.concat([HEADER, ...bodies.map((bytes, i) => frame(bytes, i))])
      const whole = split([stream])
      const ends = [...new Set(at.map((cut) => cut % (stream.length + 1)))].sort((a, b) => a - b)
      const chunks = [0, ...ends].map((from, i) => stream.subarray(from, ends[i] ?? stream.length))
      t.deepEqual(split(chunks), whole)
      t.is(whole.pieces.length, bodies.length + 1)
    }),
  )
})

test('one byte at a time gives the same frames', (t) => {
  const stream = Buffer.concat([HEADER, frame(Buffer.from('abc'), 7), frame(Buffer.alloc(0))])
  t.deepEqual(split([...stream].map((byte) => Buffer.from([byte]))), {
    pieces: ['header 0', '0 7 616263', '0 0 '],
    error: undefined,
  })
})

test('random bytes behind a header are cut or refused, the same however they are chunked', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 600 }), fc.nat(600), (random, cut) => {
      const stream = Buffer.concat([HEADER, random])
      const chunks = [stream.subarray(0, cut), stream.subarray(cut)]
      t.deepEqual(split(chunks), split([stream]))
    }),
  )
})

test('an extended header is skipped', (t) => {
  t.deepEqual(split([HEADER, frame(Buffer.from('x'), 1, 0, 4)]).pieces[1], '0 1 78')
})

for (const [what, hex] of [
  ['a frame of no bytes', '0000000002000000'],
  ['a frame shorter than its header', '0000000702000000'],
  ['a frame beyond the limit', '7fffffff02000000'],
  ['a data offset within the header', '0000000801000000'],
  ['a data offset beyond the frame', '000000080f000000'],
  ['an unknown type of frame', '0000000802070000'],
] as const) {
  test(`${what} is refused at once`, (t) => {
    t.is(split([HEADER, Buffer.from(hex, 'hex')]).error, 'amqp:connection:framing-error')
  })
}

test('a claimed size is refused from its first four bytes, and nothing is kept for it', (t) => {
  const splitter = new FrameSplitter(new Notes(), FRAME_BYTES_MAX)
  splitter.push(HEADER)
  t.throws(() => splitter.push(Buffer.from('fffffff0', 'hex')), { instanceOf: AmqpError })
  t.is(splitter.keptBytes, 0)
})

for (const text of [
  'GET / HTTP/1.1\r\n\r\n',
  '\u0010\u0010\u0000\u0004MQTT',
  'AMQX....',
  '\u0000',
]) {
  test(`${JSON.stringify(text)} is no protocol header`, (t) => {
    t.deepEqual(split([Buffer.from(text, 'latin1')]).pieces, ['header -1'])
  })
}

test('another version is no header of ours', (t) => {
  t.deepEqual(split([Buffer.from('AMQP\u0000\u0000\u0009\u0001', 'latin1')]).pieces, ['header -1'])
})

test('a sink that holds gets the rest after resume, in order', (t) => {
  const notes = new Notes()
  notes.holdAfter = 2
  const splitter = new FrameSplitter(notes, FRAME_BYTES_MAX)
  const frames = [...'abcd'].map((letter) => frame(Buffer.from(letter)))
  splitter.push(Buffer.concat([HEADER, frames[0]!, frames[1]!]))
  splitter.push(Buffer.concat(frames.slice(2)))
  t.is(notes.pieces.length, 2)
  splitter.resume()
  t.deepEqual(notes.pieces, ['header 0', '0 0 61', '0 0 62', '0 0 63', '0 0 64'])
})
