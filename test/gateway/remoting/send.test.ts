import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { deflateSync } from 'node:zlib'
import test from 'ava'
import { PROPERTIES_ACCEPTED_BYTES_MAX } from '../../../src/broker/options.ts'
import { BODY_BYTES_DEFAULT } from '../../../src/model/limits.ts'
import { parseOffsetMessageId } from '../../../src/model/message-id.ts'
import { encodeProperties } from '../../../src/model/properties.ts'
import { BATCH_MESSAGES_MAX, encodeBatchBody } from '../../../src/remoting/batch-body.ts'
import { CODEC_BINARY, CODEC_JSON } from '../../../src/remoting/frame.ts'
import { queueOf } from '../../support/broker.ts'
import {
  fields,
  pull,
  send,
  sendFrame,
  startFrontEnd,
} from '../../support/native/native-front-end.ts'
import { decodeMessages } from '../../support/native/wire-message.ts'
import { overridden } from '../../support/overridden.ts'
import { StillSocket } from '../../support/peers/still-socket.ts'
import { countTurns } from '../../support/turns.ts'

for (const [name, codec] of [
  ['JSON', CODEC_JSON],
  ['binary', CODEC_BINARY],
] as const) {
  test(`a send by the ${name} codec is stored whole and answered with its place`, async (t) => {
    const { connect } = await startFrontEnd(t)
    const connection = await connect({ codec })
    const properties = { TAGS: 'TagA', KEYS: 'k1 k2', text: 'grüße 中文 😀 "quoted" \\ \n' }
    const first = await send(connection, { topic: 'T', properties, body: Buffer.from('one'), h: 7 })
    const second = await send(connection, { topic: 'T', properties, body: Buffer.from('two') })
    t.is(first.code, 0)
    t.is(first.codec, codec)
    t.is(first.fields.get('queueId'), '0')
    t.is(first.fields.get('queueOffset'), '0')
    t.is(second.fields.get('queueOffset'), '1')
    const answer = await pull(connection, { topic: 'T' })
    t.is(answer.code, 0)
    const [one, two] = decodeMessages(answer.body)
    t.is(one!.body.toString(), 'one')
    t.is(two!.body.toString(), 'two')
    t.is(one!.flag, 7)
    t.is(one!.bornTimestamp, 1_700_000_000_000)
    t.is(one!.offsetMessageId, first.fields.get('msgId')!)
    t.is(one!.position, parseOffsetMessageId(first.fields.get('msgId')!).position)
    for (const [key, value] of Object.entries(properties)) t.is(one!.properties.get(key), value)
  })
}

test('the older SEND_MESSAGE with long field names is the same', async (t) => {
  const { connect } = await startFrontEnd(t)
  const connection = await connect()
  const sent = await connection.request(10, {
    fields: fields({
      ...{ producerGroup: 'PG', topic: 'T', defaultTopic: 'TBW102', defaultTopicQueueNums: 4 },
      ...{ queueId: 2, sysFlag: 0, bornTimestamp: 5, flag: 0, properties: 'TAGS\u0001A\u0002' },
    }),
    body: Buffer.from('x'),
  })
  t.is(sent.code, 0)
  t.is(sent.fields.get('queueId'), '2')
  const [message] = decodeMessages((await pull(connection, { topic: 'T', queueId: 2 })).body)
  t.is(message!.properties.get('TAGS'), 'A')
})

test('a batch becomes its messages, in order, with all their ids', async (t) => {
  const { connect } = await startFrontEnd(t)
  const connection = await connect()
  const body = encodeBatchBody(
    ['a', 'b', 'c'].map((text) => ({
      flag: 0,
      body: Buffer.from(text),
      properties: encodeProperties([['KEYS', text]]),
    })),
  )
  for (const sent of [
    await send(connection, { topic: 'T', code: 320, body, m: true }),
    await send(connection, { topic: 'T', code: 310, body, m: true }),
  ]) {
    t.is(sent.code, 0)
    t.is(sent.fields.get('msgId')!.split(',').length, 3)
  }
  const messages = decodeMessages((await pull(connection, { topic: 'T' })).body)
  t.deepEqual(
    messages.map((message) => [
      message.body.toString(),
      message.properties.get('KEYS'),
      message.queueOffset as number,
    ]),
    ['a', 'b', 'c', 'a', 'b', 'c'].map((text, i) => [text, text, i]),
  )
})

test('a batch that is marked by 1, as the client for C++ does it, becomes its messages too', async (t) => {
  const { connect } = await startFrontEnd(t)
  const connection = await connect()
  const item = (text: string) => ({
    flag: 0,
    body: Buffer.from(text),
    properties: Buffer.alloc(0),
  })
  const body = encodeBatchBody([item('a'), item('b')])
  const old = fields({
    ...{ producerGroup: 'PG', topic: 'T', defaultTopic: 'TBW102', defaultTopicQueueNums: 4 },
    ...{ queueId: 0, sysFlag: 0, bornTimestamp: 5, flag: 0, properties: '', unitMode: 0, batch: 1 },
  })
  t.is((await connection.request(10, { fields: old, body })).code, 0)
  t.is((await send(connection, { topic: 'T', body, m: 1 })).code, 0)
  const { body: pulled } = await pull(connection, { topic: 'T' })
  t.deepEqual(
    decodeMessages(pulled).map((message) => message.body.toString()),
    ['a', 'b', 'a', 'b'],
  )
})

test('a damaged or empty batch is refused and nothing of it stored', async (t) => {
  const { connect } = await startFrontEnd(t)
  const connection = await connect()
  const body = encodeBatchBody([{ flag: 0, body: Buffer.from('a'), properties: Buffer.alloc(0) }])
  t.is((await send(connection, { topic: 'T', code: 320, body: body.subarray(0, -1) })).code, 29)
  t.is((await send(connection, { topic: 'T', code: 320, body: Buffer.alloc(0) })).code, 13)
  t.is((await pull(connection, { topic: 'T' })).code, 19)
})

/** The body of a batch whose messages have these properties. */
const batchWith = (...properties: string[]): Buffer =>
  encodeBatchBody(
    properties.map((text, i) => ({
      flag: 0,
      body: Buffer.from(`${i}`),
      properties: Buffer.from(text),
    })),
  )

for (const [name, middle, code] of [
  ['too large', `big\u0001${'x'.repeat(PROPERTIES_ACCEPTED_BYTES_MAX)}\u0002`, 13],
  ['half of a transaction', 'TRAN_MSG\u0001true\u0002', 13],
  ['delayed beyond the limit', 'TIMER_DELAY_MS\u0001999999999999\u0002', 13],
] as const) {
  test(`of a batch with a message that is ${name} nothing is stored, before and behind it`, async (t) => {
    const { connect } = await startFrontEnd(t)
    const connection = await connect()
    const body = batchWith('', middle, '')
    const before = send(connection, { topic: 'T', body: Buffer.from('before') })
    const refused = await send(connection, { topic: 'T', code: 320, body, m: true })
    await send(connection, { topic: 'T', body: Buffer.from('behind') })
    t.is((await before).code, 0)
    t.is(refused.code, code, refused.remark)
    const stored = decodeMessages((await pull(connection, { topic: 'T' })).body)
    t.deepEqual(
      stored.map((message) => message.body.toString()),
      ['before', 'behind'],
    )
  })
}

test('a batch is bounded as a whole', async (t) => {
  const { connect } = await startFrontEnd(t)
  const connection = await connect()
  const one = { flag: 0, body: Buffer.alloc(1024 * 1024), properties: Buffer.alloc(0) }
  const large = encodeBatchBody(new Array(5).fill(one))
  const refused = await send(connection, { topic: 'T', code: 320, body: large })
  t.is(refused.code, 13)
  t.regex(refused.remark!, /a batch of \d+ bytes is too large; 4194304/)
  t.is((await pull(connection, { topic: 'T' })).code, 19)
})

const emptyMessages = (count: number): Buffer =>
  encodeBatchBody(
    new Array(count).fill({ flag: 0, body: Buffer.alloc(0), properties: Buffer.alloc(0) }),
  )

test('a batch of more messages than the limit is refused, and says so', async (t) => {
  const { connect } = await startFrontEnd(t)
  const connection = await connect()
  const body = emptyMessages(BATCH_MESSAGES_MAX + 1)
  const refused = await send(connection, { topic: 'T', code: 320, body })
  t.is(refused.code, 13)
  t.regex(refused.remark!, /more than 32768 messages/)
})

test('what comes with a large batch and behind it is stored as it was sent', async (t) => {
  const { gateway, broker, connect } = await startFrontEnd(t)
  const connection = await connect()
  await send(connection, { topic: 'T' })
  const socket = new StillSocket()
  gateway.accept(socket)
  const body = emptyMessages(10_000)
  const properties = { TAGS: 'a', text: '"quoted"' }
  const gathered = new Promise<void>((resolve) => {
    socket.resume = resolve
  })
  socket.receive(
    sendFrame(1, { topic: 'T', code: 320, body }),
    sendFrame(2, { topic: 'T', body: Buffer.from('with'), properties }),
  )
  await gathered
  socket.receive(socket.handedBack!)
  socket.receive(sendFrame(3, { topic: 'T', body: Buffer.from('behind'), properties }))
  await send(connection, { topic: 'T', i: 'text\u0001"other"\u0002'.repeat(50) })
  const stored = async (): Promise<number> => (await broker.cursors.range(queueOf('T'))).maxOffset
  while ((await stored()) < 10_004) await new Promise((resolve) => setImmediate(resolve))
  const last = decodeMessages((await pull(connection, { topic: 'T', offset: 9_990 })).body)
  const sent = last.filter(({ properties: kept }) => kept.get('TAGS') === 'a')
  t.deepEqual(
    sent.map((message) => [message.body.toString(), message.properties.get('text')]),
    [
      ['with', '"quoted"'],
      ['behind', '"quoted"'],
    ],
  )
})

test('a large batch is decoded over several turns', async (t) => {
  const { gateway } = await startFrontEnd(t)
  const socket = new StillSocket()
  gateway.accept(socket)
  const turn = countTurns(t)
  const gathered = new Promise<number>((resolve) => {
    socket.resume = () => resolve(turn())
  })
  const began = turn()
  socket.receive(sendFrame(1, { topic: 'T', code: 320, body: emptyMessages(10_000) }))
  t.true((await gathered) >= began + 2)
})

test('what comes behind a large batch on its connection stands behind it', async (t) => {
  const { connect } = await startFrontEnd(t)
  const connection = await connect()
  const batch = send(connection, { topic: 'T', code: 320, body: emptyMessages(10_000) })
  const next = send(connection, { topic: 'T', body: Buffer.from('next') })
  t.is((await batch).code, 0, (await batch).remark)
  t.is((await batch).fields.get('msgId')!.split(',').length, 10_000)
  t.is((await next).fields.get('queueOffset'), '10000')
})

test('sends of one chunk keep their order around a batch', async (t) => {
  const { gateway, connect } = await startFrontEnd(t)
  const connection = await connect()
  await send(connection, { topic: 'T', body: Buffer.from('first') })
  const socket = new StillSocket()
  gateway.accept(socket)
  socket.receive(
    sendFrame(1, { topic: 'T', body: Buffer.from('before') }),
    sendFrame(2, { topic: 'T', code: 320, body: batchWith('', '') }),
    sendFrame(3, { topic: 'T', body: Buffer.from('behind') }),
  )
  await send(connection, { topic: 'T', body: Buffer.from('last') })
  const stored = decodeMessages((await pull(connection, { topic: 'T' })).body)
  t.deepEqual(
    stored.map((message) => message.body.toString()),
    ['first', 'before', '0', '1', 'behind', 'last'],
  )
})

test('a body compressed by its sender is stored as what it is', async (t) => {
  const { connect } = await startFrontEnd(t)
  const connection = await connect()
  const plain = Buffer.from('hello '.repeat(1000))
  // Java before 5.0 says 0x1, since then 0x301: the compression's kind.
  for (const f of [0x1, 0x301]) {
    t.is((await send(connection, { topic: 'T', body: deflateSync(plain), f })).code, 0)
  }
  for (const message of decodeMessages((await pull(connection, { topic: 'T' })).body)) {
    t.is(message.sysFlag, 0)
    t.deepEqual(message.body, plain)
  }
})

test('a body compressed by LZ4 or Zstandard is stored as what it is', async (t) => {
  const { connect } = await startFrontEnd(t)
  const connection = await connect()
  const folder = new URL('../../../../test/support/compressed/', import.meta.url)
  const [lz4, zstd] = [
    await readFile(new URL('orders-plain.lz4', folder)),
    await readFile(new URL('orders-3.zst', folder)),
  ]
  t.is((await send(connection, { topic: 'T', body: lz4, f: 0x101 })).code, 0)
  t.is((await send(connection, { topic: 'T', body: zstd, f: 0x201 })).code, 0)
  for (const offset of [0, 1]) {
    const [message] = decodeMessages((await pull(connection, { topic: 'T', offset })).body)
    t.is(message!.sysFlag, 0)
    t.is(message!.body.length, 165_341)
    t.is(message!.body.toString('utf8', 0, 7), 'order 0')
  }
})

test('however many bodies one chunk brings, all are inflated, over several turns', async (t) => {
  const turns: number[] = []
  const turn = countTurns(t)
  const { connect, raw } = await startFrontEnd(t, {
    bend: (broker) =>
      overridden(broker, {
        publish: (messages) => {
          turns.push(turn())
          return broker.publish(messages)
        },
      }),
  })
  const plain = Buffer.alloc(1_500_000, 'large')
  const peer = await raw()
  const frame = sendFrame(1, { topic: 'T', body: deflateSync(plain), f: 0x301 })
  const count = 8
  peer.send(Buffer.concat(Array<Buffer>(count).fill(frame)))
  for (let i = 0; i < count; i++) await peer.read((await peer.read(4)).readInt32BE())
  const connection = await connect()
  let offset = 0
  while (offset < count) {
    const { body } = await pull(connection, { topic: 'T', offset })
    for (const message of decodeMessages(body)) {
      t.is(message.sysFlag, 0)
      t.true(message.body.equals(plain))
      offset++
    }
  }
  t.is(new Set(turns).size, count)
})

test('a body that does not inflate is refused with the reason', async (t) => {
  const { connect } = await startFrontEnd(t)
  const connection = await connect()
  const answer = await send(connection, { topic: 'T', body: Buffer.from('no zlib'), f: 1 })
  t.is(answer.code, 13)
  t.regex(answer.remark!, /compressed with zlib, and it cannot be inflated: incorrect header check/)
})

test('a body that is too large when it is inflated is stored as it was sent', async (t) => {
  const { connect } = await startFrontEnd(t)
  const connection = await connect()
  const plain = Buffer.alloc(BODY_BYTES_DEFAULT + 1, 'large')
  t.is((await send(connection, { topic: 'T', body: deflateSync(plain), f: 0x301 })).code, 0)
  const [message] = decodeMessages((await pull(connection, { topic: 'T' })).body)
  t.is(message!.sysFlag, 0x301)
  t.true(message!.body.equals(plain))
})

test('a limit below the default counts the bytes that are sent, inflated or not', async (t) => {
  const { connect } = await startFrontEnd(t, { broker: { bodyBytesMax: 64 * 1024 } })
  const connection = await connect()
  const plain = Buffer.alloc(256 * 1024, 'large')
  t.is((await send(connection, { topic: 'T', body: deflateSync(plain), f: 0x301 })).code, 0)
  const [message] = decodeMessages((await pull(connection, { topic: 'T' })).body)
  t.true(message!.body.equals(plain))
  t.is((await send(connection, { topic: 'T', body: plain })).code, 13)
  const incompressible = deflateSync(randomBytes(65 * 1024))
  t.is((await send(connection, { topic: 'T', body: incompressible, f: 0x301 })).code, 13)
})

test('a limit above the default admits such a message and such a batch', async (t) => {
  const { connect } = await startFrontEnd(t, { broker: { bodyBytesMax: 17 * 1024 * 1024 } })
  const connection = await connect()
  const body = Buffer.alloc(17 * 1024 * 1024, 'large')
  t.is((await send(connection, { topic: 'T', body })).code, 0)
  const { body: answered } = await pull(connection, { topic: 'T' })
  t.true(decodeMessages(answered)[0]!.body.equals(body))
  t.is((await send(connection, { topic: 'T', body: Buffer.alloc(body.length + 1) })).code, 13)
  const items = [{ flag: 0, body: Buffer.alloc(9 * 1024 * 1024), properties: Buffer.alloc(0) }]
  const batch = encodeBatchBody([items[0]!, { ...items[0]!, body: Buffer.alloc(7 * 1024 * 1024) }])
  t.is((await send(connection, { topic: 'T', body: batch, m: true })).code, 0)
})

test('a body in a compression that we cannot undo stays for consumers that can', async (t) => {
  const { connect } = await startFrontEnd(t)
  const connection = await connect()
  const f = 0x1 | 0x400
  t.is((await send(connection, { topic: 'T', body: Buffer.from('of tomorrow'), f })).code, 0)
  const { body } = await pull(connection, { topic: 'T' })
  t.is(body.readInt32BE(36), f)
})

for (const [what, sent, code, remark] of [
  ['an illegal topic name', { topic: 'a b' }, 29, /has a character outside/],
  ['an empty topic name', { topic: '' }, 29, /is empty/],
  ['a topic name of 128 characters', { topic: 'x'.repeat(128) }, 29, /128 characters; 127/],
  ['a topic of the machinery', { topic: 'SCHEDULE_TOPIC_XXXX' }, 16, /is forbidden/],
  ['a missing topic that may not be created', { topic: 'Missing', c: 'Other' }, 17, /Missing/],
  ['a queue that does not exist', { topic: 'T', e: 99 }, 29, /no queue 99/],
  ['a body over 4 MiB', { topic: 'T', body: Buffer.alloc(4_194_305) }, 13, /4194304/],
  [
    'properties over 32 KiB',
    { topic: 'T', i: `a\u0001${'v'.repeat(32_767)}\u0002` },
    13,
    /properties/,
  ],
  [
    'a half message of no producer group',
    { topic: 'T', properties: { TRAN_MSG: 'true' } },
    13,
    /PGROUP is missing/,
  ],
  ['a queue id that is no number', { topic: 'T', e: 'one' }, 29, /field 'e' is 'one'/],
  ['a queue id beyond 32 bits', { topic: 'T', e: '4294967296' }, 29, /32-bit/],
] as const) {
  test(`${what} is refused with the reason, and the connection lives on`, async (t) => {
    const { connect } = await startFrontEnd(t)
    const connection = await connect()
    t.is((await send(connection, { topic: 'T' })).code, 0)
    const refused = await send(connection, sent)
    t.is(refused.code, code)
    t.regex(refused.remark!, remark)
    t.is((await send(connection, { topic: 'T' })).fields.get('queueOffset'), '1')
  })
}

test('a missing field is named', async (t) => {
  const { connect } = await startFrontEnd(t)
  const connection = await connect()
  const answer = await connection.request(310, { fields: fields({ b: 'T' }) })
  t.is(answer.code, 29)
  t.is(answer.remark, "the request lacks the field 'a'")
})

test('a disk that takes nothing is said to be unavailable, which producers take for another broker', async (t) => {
  const { connect, faults } = await startFrontEnd(t)
  const connection = await connect()
  await send(connection, { topic: 'T' })
  await pull(connection, { topic: 'T' })
  faults.isReadOnly = true
  const refused = await send(connection, { topic: 'T' })
  t.is(refused.code, 14)
  t.is(refused.remark, 'the disk is full')
  t.is((await pull(connection, { topic: 'T' })).code, 0)
  faults.isReadOnly = false
  t.is((await send(connection, { topic: 'T' })).code, 0)
})

test('one bad message of a chunk does not spoil the others, and answers keep their order', async (t) => {
  const { connect } = await startFrontEnd(t)
  const connection = await connect()
  await send(connection, { topic: 'T' })
  const answers = await Promise.all(
    ['T', 'a b', 'T', 'SCHEDULE_TOPIC_XXXX', 'T'].map((topic) => send(connection, { topic })),
  )
  t.deepEqual(
    answers.map(({ code }) => code),
    [0, 29, 0, 16, 0],
  )
  t.deepEqual(
    answers.flatMap((answer) => answer.fields.get('queueOffset') ?? []),
    ['1', '2', '3'],
  )
})

test('a one-way send is stored and not answered', async (t) => {
  const { connect } = await startFrontEnd(t)
  const connection = await connect()
  await send(connection, { topic: 'T' })
  const sent = fields({ a: 'PG', b: 'T', c: 'TBW102', d: 4, e: 0, f: 0, g: 1, h: 0 })
  connection.oneWay(310, { fields: sent, body: Buffer.from('one-way') })
  t.is((await send(connection, { topic: 'T' })).fields.get('queueOffset'), '2')
})

test('messages of many connections at once are kept apart', async (t) => {
  const { connect } = await startFrontEnd(t)
  const connections = await Promise.all(Array.from({ length: 8 }, () => connect()))
  const sends = connections.flatMap((connection, c) =>
    Array.from({ length: 200 }, (_, i) => {
      const body = Buffer.from(`${c}-${i}-`.padEnd(50 + ((i * 37) % 900), String(c)))
      return send(connection, { topic: 'T', body, properties: { KEYS: `${c}-${i}` } })
    }),
  )
  for (const answer of await Promise.all(sends)) t.is(answer.code, 0)
  const seen = new Set<string>()
  for (let offset = 0; offset < 1600; ) {
    const { body } = await pull(connections[0]!, { topic: 'T', offset, max: 1024 })
    for (const message of decodeMessages(body)) {
      const key = message.properties.get('KEYS')!
      const [c, i] = key.split('-').map(Number)
      t.is(message.body.toString(), `${key}-`.padEnd(50 + ((i! * 37) % 900), String(c)))
      seen.add(key)
      offset++
    }
  }
  t.is(seen.size, 1600)
})
