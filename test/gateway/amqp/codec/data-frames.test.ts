import { createRequire } from 'node:module'
import test from 'ava'
import fc from 'fast-check'
import {
  Disposition,
  rejectedState,
  STATE,
  writeDisposition,
} from '../../../../src/gateway/amqp/codec/disposition.ts'
import { Flow, writeFlow } from '../../../../src/gateway/amqp/codec/flow.ts'
import { Transfer, writeTransferHead } from '../../../../src/gateway/amqp/codec/transfer.ts'
import { AmqpError } from '../../../../src/gateway/amqp/errors.ts'

/** rhea's frame codec: another hand's reading of the same pages. */
interface RheaFrames {
  transfer(fields: object): object
  flow(fields: object): object
  disposition(fields: object): object
  amqp_frame(channel: number, performative: object, payload?: Buffer): object
  write_frame(frame: object): Buffer
  read_frame(bytes: Buffer): {
    channel: number
    performative: { toJSON(): Record<string, unknown>; state?: { toJSON?(): unknown } }
    payload?: Buffer
  }
}

interface RheaMessage {
  accepted(): { described(): object }
  released(): { described(): object }
  rejected(fields: object): { described(): object }
  modified(fields: object): { described(): object }
}

const require = createRequire(import.meta.url)
const frames = require('rhea/lib/frames.js') as RheaFrames
const messages = require('rhea/lib/message.js') as RheaMessage

const U32 = fc.nat(0xffff_ffff)
const theirs = (performative: object, payload?: Buffer): Buffer =>
  Buffer.from(frames.write_frame(frames.amqp_frame(5, performative, payload)))

function readTransfer(bytes: Buffer): Transfer {
  const transfer = new Transfer()
  transfer.read(bytes, 8, bytes.length)
  return transfer
}

function readFlow(bytes: Buffer): Flow {
  const flow = new Flow()
  flow.read(bytes, 8, bytes.length)
  return flow
}

function readDisposition(bytes: Buffer): Disposition {
  const disposition = new Disposition()
  disposition.read(bytes, 8, bytes.length)
  return disposition
}

test("another codec's transfers are read", (t) => {
  const fields = fc.record({
    handle: U32,
    delivery_id: U32,
    delivery_tag: fc.uint8Array({ maxLength: 32 }).map((bytes) => Buffer.from(bytes)),
    message_format: U32,
    settled: fc.boolean(),
    more: fc.boolean(),
    aborted: fc.boolean(),
  })
  fc.assert(
    fc.property(fields, fc.uint8Array(), (sent, payload) => {
      const bytes = theirs(frames.transfer(sent), Buffer.from(payload))
      const got = readTransfer(bytes)
      t.like(got, {
        handle: sent.handle,
        deliveryId: sent.delivery_id,
        tagBytes: sent.delivery_tag.length,
        messageFormat: sent.message_format,
        settled: sent.settled,
        more: sent.more,
        aborted: sent.aborted,
      })
      t.deepEqual(bytes.subarray(got.payloadAt), Buffer.from(payload))
    }),
  )
})

test('another codec reads our transfers', (t) => {
  const head = fc.record({
    channel: fc.nat(0xffff),
    handle: U32,
    deliveryId: U32,
    messageFormat: U32,
    settled: fc.boolean(),
    more: fc.boolean(),
    isFirst: fc.boolean(),
  })
  fc.assert(
    fc.property(head, fc.uint8Array({ minLength: 1 }), (sent, payload) => {
      const out = Buffer.alloc(400)
      const at = writeTransferHead(out, 3, sent, payload.length)
      out.set(payload, at)
      const frame = frames.read_frame(out.subarray(3, at + payload.length))
      t.is(frame.channel, sent.channel)
      t.deepEqual(frame.payload, Buffer.from(payload))
      const got = frame.performative as unknown as Record<string, unknown>
      t.is(got['handle'], sent.handle)
      t.is(got['settled'], sent.settled)
      t.is(got['more'], sent.more)
      t.is(got['delivery_id'], sent.isFirst ? sent.deliveryId : null)
      if (sent.isFirst) t.is(got['message_format'], sent.messageFormat)
    }),
  )
})

test("another codec's flows are read", (t) => {
  const fields = fc.record(
    {
      next_incoming_id: U32,
      incoming_window: U32,
      next_outgoing_id: U32,
      outgoing_window: U32,
      handle: U32,
      delivery_count: U32,
      link_credit: U32,
      drain: fc.boolean(),
      echo: fc.boolean(),
    },
    { requiredKeys: ['incoming_window', 'next_outgoing_id', 'outgoing_window'] },
  )
  fc.assert(
    fc.property(fields, (sent) => {
      t.like(readFlow(theirs(frames.flow(sent))), {
        nextIncomingId: sent.next_incoming_id ?? -1,
        incomingWindow: sent.incoming_window,
        nextOutgoingId: sent.next_outgoing_id,
        outgoingWindow: sent.outgoing_window,
        handle: sent.handle ?? -1,
        deliveryCount: sent.delivery_count ?? -1,
        linkCredit: sent.link_credit ?? -1,
        drain: sent.drain ?? false,
        echo: sent.echo ?? false,
      })
    }),
  )
})

test('another codec reads our flows', (t) => {
  const window = fc.record({
    channel: fc.nat(0xffff),
    nextIncomingId: U32,
    incomingWindow: U32,
    nextOutgoingId: U32,
    outgoingWindow: U32,
  })
  const link = fc.record({
    handle: U32,
    deliveryCount: U32,
    linkCredit: U32,
    drain: fc.boolean(),
  })
  fc.assert(
    fc.property(window, fc.option(link, { nil: undefined }), (sent, credit) => {
      const out = Buffer.alloc(100)
      const end = writeFlow(out, 0, sent, credit)
      const { performative, channel } = frames.read_frame(out.subarray(0, end))
      const got = performative as unknown as Record<string, unknown>
      t.is(channel, sent.channel)
      t.is(got['next_incoming_id'], sent.nextIncomingId)
      t.is(got['incoming_window'], sent.incomingWindow)
      t.is(got['next_outgoing_id'], sent.nextOutgoingId)
      t.is(got['outgoing_window'], sent.outgoingWindow)
      if (credit === undefined) return
      t.is(got['handle'], credit.handle)
      t.is(got['delivery_count'], credit.deliveryCount)
      t.is(got['link_credit'], credit.linkCredit)
      t.is(got['drain'], credit.drain)
    }),
  )
})

test("another codec's dispositions are read, with every outcome", (t) => {
  const error = { condition: 'app:bad', description: 'no good' }
  const cases: [object | undefined, unknown][] = [
    [messages.accepted().described(), { kind: 'accepted' }],
    [messages.released().described(), { kind: 'released' }],
    [messages.rejected({ error }).described(), { kind: 'rejected', reason: 'app:bad: no good' }],
    [
      messages.modified({ delivery_failed: true, undeliverable_here: true }).described(),
      {
        kind: 'modified',
        failed: true,
        isNotHere: true,
        deliverAtMs: undefined,
        delayMs: undefined,
        note: undefined,
      },
    ],
    [undefined, undefined],
  ]
  for (const [state, outcome] of cases) {
    const sent = { role: true, first: 7, last: 9, settled: true, state }
    const got = readDisposition(theirs(frames.disposition(sent)))
    t.deepEqual(got.outcome as unknown, outcome)
    t.like(got, { isReceiver: true, first: 7, last: 9, settled: true })
  }
  const one = readDisposition(theirs(frames.disposition({ role: false, first: 3 })))
  t.like(one, { isReceiver: false, first: 3, last: 3, settled: false })
})

test('a disposition that does not say whose it is has no role of the one before', (t) => {
  const disposition = new Disposition()
  const whole = theirs(frames.disposition({ role: true, first: 7 }))
  disposition.read(whole, 8, whole.length)
  const short = Buffer.from('005315c00402405203', 'hex')
  disposition.read(short, 0, short.length)
  t.like(disposition, { isReceiver: false, first: 3 })
})

test('another codec reads our dispositions', (t) => {
  const range = fc.record({
    channel: fc.nat(0xffff),
    isReceiver: fc.boolean(),
    first: U32,
    last: U32,
    settled: fc.boolean(),
    state: fc.constantFrom(
      STATE.accepted,
      STATE.released,
      rejectedState({ condition: 'amqp:not-found', description: 'gone' }),
    ),
  })
  fc.assert(
    fc.property(range, (sent) => {
      const out = Buffer.alloc(200)
      const { performative } = frames.read_frame(out.subarray(0, writeDisposition(out, 0, sent)))
      const got = performative as unknown as Record<string, unknown>
      t.is(got['role'], sent.isReceiver)
      t.is(got['first'], sent.first)
      t.is(got['last'], sent.last)
      t.is(got['settled'], sent.settled)
    }),
  )
})

test('random and mutated frames are read or refused, and nothing else happens', (t) => {
  const originals = [
    theirs(frames.transfer({ handle: 1, delivery_id: 2, delivery_tag: Buffer.from('t') })),
    theirs(frames.flow({ incoming_window: 1, next_outgoing_id: 2, outgoing_window: 3, handle: 4 })),
    theirs(
      frames.disposition({
        role: true,
        first: 1,
        state: messages.rejected({ error: { condition: 'a:b' } }).described(),
      }),
    ),
  ]
  const changes = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 3 })
  const input = fc.oneof(
    fc.uint8Array({ minLength: 9, maxLength: 60 }).map((bytes) => Buffer.from(bytes)),
    fc.tuple(fc.constantFrom(...originals), changes).map(([original, all]) => {
      const bytes = Buffer.from(original)
      for (const [at, byte] of all) bytes[8 + (at % (bytes.length - 8))] = byte
      return bytes
    }),
  )
  fc.assert(
    fc.property(input, (bytes) => {
      for (const read of [readTransfer, readFlow, readDisposition]) {
        try {
          read(bytes)
        } catch (error) {
          t.true(error instanceof AmqpError, String(error))
        }
      }
    }),
    { numRuns: 3000 },
  )
  t.pass()
})
