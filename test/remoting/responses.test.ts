import test from 'ava'
import fc from 'fast-check'
import { parseOffsetMessageId } from '../../src/model/message-id.ts'
import { decodeCommand } from '../../src/remoting/command.ts'
import { pullResponseHead } from '../../src/remoting/fast/pull-response.ts'
import { SendResponses } from '../../src/remoting/fast/send-response.ts'
import { CODEC_BINARY, CODEC_JSON, FrameSplitter } from '../../src/remoting/frame.ts'

const codec = fc.constantFrom(CODEC_JSON, CODEC_BINARY)

function decoded(bytes: Buffer): ReturnType<typeof decodeCommand> {
  let command: ReturnType<typeof decodeCommand> | undefined
  new FrameSplitter((...frame) => {
    command = decodeCommand(...frame)
  }).push(bytes)
  return command!
}

test('a prefabricated answer to a send reads as one that is built anew', (t) => {
  const host = { ip: 0x0a000001, port: 10_911 }
  const responses = new SendResponses(host)
  fc.assert(
    fc.property(
      codec,
      fc.integer(),
      fc.integer({ min: 0, max: 1023 }),
      fc.tuple(fc.maxSafeNat(), fc.maxSafeNat()),
      (codec, opaque, queueId, [queueOffset, position]) => {
        // Written over earlier ones, as on the hot path, and behind another.
        const target = Buffer.alloc(3 + responses.bytesMax, 'x')
        const end = responses.write(target, 3, codec, opaque, queueId, queueOffset, position)
        const answer = decoded(target.subarray(3, end))
        t.is(answer.codec, codec)
        t.is(answer.code, 0)
        t.is(answer.fields.get('TRACE_ON'), 'true')
        t.is(answer.flag, 1)
        t.is(answer.opaque, opaque)
        t.is(answer.fields.get('queueId'), String(queueId))
        t.is(answer.fields.get('queueOffset'), String(queueOffset))
        t.deepEqual(parseOffsetMessageId(answer.fields.get('msgId')!), { host, position } as never)
      },
    ),
  )
})

test('a prefabricated head of an answer to a pull reads as one that is built anew', (t) => {
  fc.assert(
    fc.property(
      fc.constantFrom('found', 'at-end', 'no-match', 'moved' as const),
      codec,
      fc.integer(),
      fc.tuple(fc.maxSafeNat(), fc.maxSafeNat(), fc.maxSafeNat()),
      fc.uint8Array({ maxLength: 50 }),
      (outcome, codec, opaque, [nextOffset, minOffset, maxOffset], records) => {
        const offsets = { nextOffset, minOffset, maxOffset }
        const head = pullResponseHead(outcome, codec, opaque, offsets, records.length)
        const answer = decoded(Buffer.concat([head, records]))
        t.is(answer.codec, codec)
        t.is(answer.opaque, opaque)
        t.is(answer.remark, outcome === 'found' ? 'FOUND' : answer.remark)
        t.is(answer.fields.get('suggestWhichBrokerId'), '0')
        t.is(answer.fields.get('nextBeginOffset'), String(nextOffset))
        t.is(answer.fields.get('minOffset'), String(minOffset))
        t.is(answer.fields.get('maxOffset'), String(maxOffset))
        t.deepEqual(new Uint8Array(answer.body), records)
      },
    ),
  )
})
