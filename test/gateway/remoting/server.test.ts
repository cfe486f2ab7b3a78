import test from 'ava'
import { BrokerError, ERROR_CODES } from '../../../src/errors.ts'
import { responseCodeOf } from '../../../src/gateway/remoting/errors.ts'
import { silentLogger } from '../../../src/log.ts'
import { NameServer } from '../../../src/namesrv/server.ts'
import { REQUEST } from '../../../src/remoting/codes.ts'
import { encodeCommand, requestHeader } from '../../../src/remoting/command.ts'
import type { RemotingConnection } from '../../../src/remoting/connection.ts'
import { FRAME_BYTES_MAX_UNAUTHENTICATED } from '../../../src/remoting/frame.ts'
import {
  fields,
  heartbeat,
  pull,
  send,
  sendFrame,
  startFrontEnd,
} from '../../support/native/native-front-end.ts'
import { decodeMessages } from '../../support/native/wire-message.ts'
import { StillSocket } from '../../support/peers/still-socket.ts'
import { eventually } from '../../support/waiting.ts'

const WRITER = { accessKey: 'writer', secretKey: '12345678' }
const READER = { accessKey: 'reader', secretKey: '87654321' }
const users = {
  writer: {
    secretKey: '12345678',
    admin: false,
    publish: ['T', 'Old'],
    consume: [],
    create: ['T'],
  },
  reader: { secretKey: '87654321', admin: false, publish: [], consume: ['T', 'G'], create: [] },
  root: { secretKey: 'root-secret', admin: true, publish: [], consume: [], create: [] },
}

test('unsigned and wrongly signed requests are refused where there are users', async (t) => {
  const { connect } = await startFrontEnd(t, { users })
  const nobody = await connect()
  t.is((await send(nobody, { topic: 'T' })).code, 16)
  t.is((await pull(nobody, { topic: 'T' })).code, 16)
  t.is((await nobody.request(9999)).code, 16)
  const liar = await connect({ credentials: { ...WRITER, secretKey: 'guessed-it' } })
  const refused = await send(liar, { topic: 'T' })
  t.is(refused.code, 16)
  t.regex(refused.remark!, /wrong signature/)
})

test('wrong signatures beyond the first few are answered late, and right ones of the same address at once', async (t) => {
  const { gateway, connect, clock } = await startFrontEnd(t, { users })
  const liar = await connect({ credentials: { ...WRITER, secretKey: 'guessed-it' } })
  for (let guess = 0; guess < 20; guess++) t.is((await send(liar, { topic: 'T' })).code, 16)
  let isAnswered = false
  const late = send(liar, { topic: 'T' }).then((answer) => {
    isAnswered = true
    return answer
  })
  const unread = t.throwsAsync(send(liar, { topic: 'T' }), { code: 'UNREACHABLE' })
  t.is((await send(await connect({ credentials: WRITER }), { topic: 'T' })).code, 0)
  t.false(isAnswered)
  while (!isAnswered) {
    clock.advance(250)
    await new Promise((resolve) => setImmediate(resolve))
  }
  t.is((await late).code, 16)
  await unread
  while (gateway.connections > 1) await new Promise((resolve) => setImmediate(resolve))
})

test('a peer that has signed rightly is not made to wait for a request whose signature is wrong', async (t) => {
  const { connect } = await startFrontEnd(t, { users })
  const credentials = { ...WRITER }
  const writer = await connect({ credentials })
  t.is((await send(writer, { topic: 'T' })).code, 0)
  credentials.secretKey = 'mistyped'
  for (let wrong = 0; wrong < 22; wrong++) t.is((await send(writer, { topic: 'T' })).code, 16)
})

test('a signed request may do what its user is granted, and nothing else', async (t) => {
  const { connect } = await startFrontEnd(t, { users })
  const writer = await connect({ credentials: WRITER })
  const reader = await connect({ credentials: READER })
  t.is((await send(writer, { topic: 'T', body: Buffer.from('granted') })).code, 0)
  t.is((await send(writer, { topic: 'T', body: Buffer.from('again'), k: true })).code, 0)
  t.is((await send(writer, { topic: 'U' })).code, 16)
  t.is((await send(reader, { topic: 'T' })).code, 16)
  const answer = await pull(reader, { topic: 'T' })
  t.is(decodeMessages(answer.body).length, 2)
  t.is((await pull(reader, { topic: 'T', group: 'Other' })).code, 16)
  t.is((await pull(writer, { topic: 'T' })).code, 16)
  t.is(
    (await heartbeat(reader, 'c1', [{ group: 'G', topics: { T: '*', '%RETRY%G': '*' } }])).code,
    0,
  )
  t.is((await heartbeat(reader, 'c1', [{ group: 'G', topics: { U: '*' } }])).code, 16)
})

test('a user that may publish but not create does not create', async (t) => {
  const { connect } = await startFrontEnd(t, { users })
  const writer = await connect({ credentials: WRITER })
  t.is((await send(writer, { topic: 'Old' })).code, 17)
})

test('the definitions of all are for admins', async (t) => {
  const { connect } = await startFrontEnd(t, { users })
  const writer = await connect({ credentials: WRITER })
  const root = await connect({ credentials: { accessKey: 'root', secretKey: 'root-secret' } })
  for (const code of [21, 28, 43, 201]) {
    t.is((await writer.request(code)).code, 16, String(code))
    t.is((await root.request(code)).code, 0, String(code))
  }
  const topic = fields({ topic: 'T' })
  t.is((await writer.request(215, { fields: topic })).code, 16)
  t.is((await root.request(215, { fields: topic })).code, 0)
})

test("any user is told the broker's identity, and admins the rest of its settings", async (t) => {
  const { connect } = await startFrontEnd(t, { users })
  const writer = await connect({ credentials: WRITER })
  const root = await connect({ credentials: { accessKey: 'root', secretKey: 'root-secret' } })
  const namesFor = async (connection: RemotingConnection): Promise<string[]> => {
    const text = (await connection.request(26)).body.toString().trimEnd()
    return text.split('\n').map((line) => line.split('=')[0]!)
  }
  const identity = ['brokerClusterName', 'brokerName', 'brokerId']
  t.deepEqual(await namesFor(writer), identity)
  const all = await namesFor(root)
  t.deepEqual(all.slice(0, 3), identity)
  for (const name of ['brokerIP1', 'flushDiskType', 'maxMessageSize']) t.true(all.includes(name))
  const stranger = await connect()
  t.is((await stranger.request(26)).code, 16)
})

test('a changed body does not match its signature', async (t) => {
  const { connect } = await startFrontEnd(t, { users })
  const connection = await connect()
  const signed = await connect({ credentials: WRITER })
  t.is((await send(signed, { topic: 'T' })).code, 0)
  const forged = await send(connection, { topic: 'T', AccessKey: 'writer', Signature: 'AAAA' })
  t.is(forged.code, 16)
})

test('a user that may consume a topic but not create it makes none by subscribing or pulling', async (t) => {
  const { connect, broker } = await startFrontEnd(t, { users })
  const reader = await connect({ credentials: READER })
  t.is((await heartbeat(reader, 'c1', [{ group: 'G', topics: { T: '*' } }])).code, 0)
  t.is((await pull(reader, { topic: 'T' })).code, 17)
  t.is(await broker.topics.get('T'), undefined)
  await broker.topics.ensure('T')
  t.is((await pull(reader, { topic: 'T' })).code, 19)
})

test("a producer's first request may be a large message", async (t) => {
  const { connect, clock } = await startFrontEnd(t, { users })
  const connection = await connect({ credentials: WRITER })
  t.is((await send(connection, { topic: 'T', body: Buffer.alloc(1_000_000, 'x') })).code, 0)
  // It came in time, so there is nothing to wait for any more.
  clock.advance(20_000)
  t.is((await send(connection, { topic: 'T' })).code, 0)
})

test("a producer's first request may be the largest message with the longest header", async (t) => {
  const { connect } = await startFrontEnd(t, { users })
  const connection = await connect({ credentials: WRITER })
  // Characters that JSON escapes take six bytes each in the header.
  const properties = { escaped: '\u0003'.repeat(30_000) }
  const body = Buffer.alloc(4 * 1024 * 1024)
  t.is((await send(connection, { topic: 'T', body, properties })).code, 0)
})

test('strangers send few large frames at a time, and each in time', async (t) => {
  const { raw, connect, clock } = await startFrontEnd(t, { users })
  const claim = Buffer.alloc(8)
  claim.writeInt32BE(FRAME_BYTES_MAX_UNAUTHENTICATED + 1)
  const strangers = await Promise.all(Array.from({ length: 6 }, () => raw()))
  for (const stranger of strangers) stranger.send(claim)
  const refused = await eventually(async () => {
    const closed = strangers.filter((stranger) => stranger.isClosed)
    return closed.length === 2 ? closed : undefined
  })
  t.is(refused.length, 2)
  // A peer that has signed a request already is no stranger.
  const known = await connect({ credentials: WRITER })
  t.is((await send(known, { topic: 'T' })).code, 0)
  t.is((await send(known, { topic: 'T', body: Buffer.alloc(100_000) })).code, 0)
  clock.advance(10_000)
  for (const stranger of strangers) await stranger.closed()
})

test('a stranger never sends more than the largest message', async (t) => {
  const { raw } = await startFrontEnd(t, { users })
  const peer = await raw()
  peer.send(Buffer.from('00500000', 'hex'))
  await peer.closed()
  t.pass()
})

test('a front-end that closes answers what is being stored, refuses the rest and lets go', async (t) => {
  const { connect, gateway, clock } = await startFrontEnd(t)
  const connection = await connect()
  await send(connection, { topic: 'T' })
  const sent = send(connection, { topic: 'T' })
  const held = pull(connection, { topic: 'T', offset: 9, sysFlag: 6 }).catch((error) => error)
  t.is((await sent).code, 0)
  const closing = gateway.close(10_000)
  while (gateway.connections > 0) await clock.advanceAsync(20)
  await closing
  t.true((await held) instanceof BrokerError || (await held).code !== 0)
  t.is((await connection.closed)?.code, 'UNREACHABLE')
})

test('a peer that does not say goodbye is cut at the deadline', async (t) => {
  const { raw, gateway, clock } = await startFrontEnd(t)
  const peer = await raw()
  peer.pause()
  while (gateway.connections === 0) await new Promise((resolve) => setImmediate(resolve))
  const closing = gateway.close(1000)
  await clock.advanceAsync(1100)
  await closing
  t.is(gateway.connections, 0)
})

test("only what may succeed elsewhere or later gets a code on which Java's producer sends again", (t) => {
  const again = new Set([1, 2, 14, 16, 17])
  const callers = [
    'ARGUMENT_INVALID',
    'NAME_INVALID',
    'MESSAGE_INVALID',
    'MESSAGE_TOO_LARGE',
    'QUEUE_NOT_FOUND',
    'QUOTA_EXCEEDED',
    'FILTER_INVALID',
  ] as const
  for (const code of callers) t.false(again.has(responseCodeOf(new BrokerError(code, ''))), code)
  for (const code of ['BUSY', 'READ_ONLY', 'CLOSED', 'UNREACHABLE'] as const) {
    t.true(again.has(responseCodeOf(new BrokerError(code, ''))), code)
  }
  for (const code of ERROR_CODES) t.not(responseCodeOf(new BrokerError(code, '')), 0, code)
})

test('a large first command over a slow link has the more time the more of it came', async (t) => {
  const { gateway, clock } = await startFrontEnd(t, { introductionMs: 10_000 })
  const nameServer = new NameServer({ clock, log: silentLogger }, { introductionMs: 10_000 })
  const frame = sendFrame(1, { topic: 'T', body: Buffer.alloc(1024 * 1024) })
  for (const server of [gateway, nameServer]) {
    const socket = new StillSocket()
    server.accept(socket)
    socket.receive(frame.subarray(0, 640 * 1024))
    clock.advance(25_000)
    t.false(socket.isClosed)
    clock.advance(10_000)
    t.true(socket.isClosed)
  }
  await nameServer.close(0)
})

test('where there are users a peer has to sign within its time', async (t) => {
  const { gateway, clock, connect } = await startFrontEnd(t, { users })
  const stranger = await connect()
  t.is((await send(stranger, { topic: 'T' })).code, 16)
  const writer = await connect({ credentials: WRITER })
  t.is((await send(writer, { topic: 'T' })).code, 0)
  clock.advance(10_000)
  while (gateway.connections > 1) await new Promise((resolve) => setImmediate(resolve))
  t.is((await send(writer, { topic: 'T' })).code, 0)
})

test('of the long requests in one chunk a turn serves one, and short ones go on behind it', async (t) => {
  const { gateway } = await startFrontEnd(t)
  const socket = new StillSocket()
  gateway.accept(socket)
  const request = (code: number): Buffer => encodeCommand(requestHeader({ code, opaque: 1 }))
  const [long, short] = [request(REQUEST.getAllGroupConfig), request(REQUEST.getBrokerSystemTopics)]
  socket.receive(short, short, long, long, short)
  t.is(socket.handedBack!.length, long.length + short.length)
  socket.receive(long, short)
  t.is(socket.handedBack!.length, short.length)
})
