// Bytes that no client of ours sends: each costs at most its own connection, and never memory for
// what did not come.
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import test from 'ava'
import { encodeCommand, requestHeader } from '../../../src/remoting/command.ts'
import { fields, send, startFrontEnd } from '../../support/native/native-front-end.ts'
import { eventually } from '../../support/waiting.ts'

const frame = (
  header: string | Uint8Array,
  body: Uint8Array = Buffer.alloc(0),
  codec = 0,
): Buffer => {
  const head = Buffer.from(header as string)
  const prefix = Buffer.alloc(8)
  prefix.writeInt32BE(4 + head.length + body.length)
  prefix.writeUInt32BE(((codec << 24) | head.length) >>> 0, 4)
  return Buffer.concat([prefix, head, body])
}
const json = (header: object): Buffer => frame(JSON.stringify(header))

for (const [what, bytes] of [
  ['a length of nothing', Buffer.from('0000000000000000', 'hex')],
  ['a header longer than its frame', Buffer.from('0000000c00ffffff0000000000000000', 'hex')],
  ['a header codec that does not exist', frame('{"code":1}', undefined, 9)],
  ['a header that is no JSON', frame('code=310')],
  ['a header that is a list', frame('[310]')],
  ['a code beyond 32 bits', frame('{"code":99999999999}')],
  ['nested fields', json({ code: 310, opaque: 1, extFields: { b: { c: 1 } } })],
  ['a deep header', frame(`{"code":310,"x":${'['.repeat(50_000)}`)],
  ['a header of many objects', frame(`{"code":310,"x":[${'{},'.repeat(100_000)}1]}`)],
  ['a header of one giant field', json({ code: 310, extFields: { i: 'x'.repeat(300_000) } })],
  ['a binary header that ends too early', frame(Buffer.alloc(10), undefined, 1)],
  [
    'a binary header with a length of its own',
    frame(Buffer.from('0136000191000000010000000000000000' + '7fffffff', 'hex'), undefined, 1),
  ],
] as const) {
  test(`${what} closes its own connection and no other`, async (t) => {
    const { connect, raw } = await startFrontEnd(t)
    const healthy = await connect()
    const peer = await raw()
    peer.send(bytes)
    t.is((await peer.closed()).length, 0)
    t.is((await send(healthy, { topic: 'T' })).code, 0)
  })
}

/** Fields of a query of where a queue ends. */
const QUEUE_END = '"topic":"T","queueId":"0"'

for (const [what, header, code] of [
  [
    'with a byte that is no UTF-8',
    Buffer.from(`{"code":30,"opaque":7,"extFields":{${QUEUE_END},"who":"\xff"}}`, 'latin1'),
    0,
  ],
  ['with its numbers in quotes', `{"code":"30","opaque":"7","extFields":{${QUEUE_END}}}`, 0],
  ['in single quotes', `{'code':30,'opaque':7,'extFields':{${QUEUE_END.replaceAll('"', "'")}}}`, 0],
  ['without a code', '{"opaque":7}', 3],
] as const) {
  test(`a header ${what} is answered, as by Apache's broker`, async (t) => {
    const { raw, connect } = await startFrontEnd(t)
    await send(await connect(), { topic: 'T' })
    const peer = await raw()
    peer.send(frame(header))
    const length = (await peer.read(4)).readInt32BE()
    const bytes = await peer.read(length)
    const headerEnd = 4 + (bytes.readInt32BE() & 0xffffff)
    const answer = JSON.parse(bytes.toString('utf8', 4, headerEnd)) as Record<string, unknown>
    t.is(answer['opaque'], 7)
    t.is(answer['code'], code, String(answer['remark']))
  })
}

test('an answer without a request, and a truncated frame, are waited out', async (t) => {
  const { connect, raw, gateway } = await startFrontEnd(t)
  const healthy = await connect()
  const peer = await raw()
  peer.send(json({ code: 0, flag: 1, opaque: 77 }), frame('{"code":310}').subarray(0, 9))
  t.is((await send(healthy, { topic: 'T' })).code, 0)
  t.is(gateway.connections, 2)
  t.false(peer.isClosed)
})

test('a header with hostile names is served like any other', async (t) => {
  const { raw } = await startFrontEnd(t)
  const peer = await raw()
  const hostile = '"__proto__":"x","constructor":"y","toString":"z"'
  peer.send(frame(`{"code":310,"opaque":5,"extFields":{${hostile}},"__proto__":{"code":1}}`))
  const length = (await peer.read(4)).readInt32BE()
  const answer = (await peer.read(length)).toString('utf8', 4)
  t.regex(answer, /"code":29,.*lacks the field 'a'/)
  t.is(({} as Record<string, unknown>)['code'], undefined)
})

/**
 * Waits for a message, with the longest body that a request may have, and a number that the hot
 * path leaves to the general way.
 */
const heldPull = (): Buffer =>
  encodeCommand(
    requestHeader({
      code: 11,
      opaque: 1,
      fields: fields({
        ...{ consumerGroup: 'G', topic: 'T', queueId: 1, queueOffset: 0, maxMsgNums: 1 },
        ...{ sysFlag: 6, commitOffset: 10 ** 16, suspendTimeoutMillis: 15_000 },
        subscription: '*',
      }),
    }),
    Buffer.alloc(256 * 1024),
  )

test('a peer whose waiting requests take too much memory is not read any longer', async (t) => {
  const { connect, raw, clock } = await startFrontEnd(t)
  const healthy = await connect()
  await send(healthy, { topic: 'T' })
  const held = heldPull()
  const peer = await raw()
  const idle = clock.pending
  for (let i = 0; i < 96; i++) peer.send(held)
  // Every held pull has a timer of its own.
  await eventually(async () => (clock.pending - idle >= 64 ? true : undefined))
  for (let i = 0; i < 20; i++) t.is((await send(healthy, { topic: 'T' })).code, 0)
  t.true(clock.pending - idle <= 65, 'pulls beyond the limit are still read')
  t.is(peer.unread.length, 0)
  clock.advance(15_000)
  t.true((await peer.read(64 * 100)).length >= 64 * 100)
})

test.serial('a held pull keeps nothing of the body that came with it', async (t) => {
  const { connect, raw, clock } = await startFrontEnd(t)
  await send(await connect(), { topic: 'T' })
  const peer = await raw()
  setFlagsFromString('--expose-gc')
  const gc = runInNewContext('gc') as () => void
  gc()
  const before = process.memoryUsage().arrayBuffers
  const idle = clock.pending
  for (let i = 0; i < 48; i++) peer.send(heldPull())
  await eventually(async () => (clock.pending - idle === 48 ? true : undefined))
  // An array's memory goes some time after the array.
  const kept = await eventually(async () => {
    gc()
    const bytes = process.memoryUsage().arrayBuffers - before
    return bytes < 6 * 1024 * 1024 ? bytes : undefined
  })
  t.is(clock.pending - idle, 48, `${kept} bytes are kept`)
})

test('partial frames cost the oldest of them its connection when they take too much together', async (t) => {
  const { raw } = await startFrontEnd(t, { partialBytesMax: 1024 * 1024 })
  const request = encodeCommand(
    requestHeader({ code: 34, opaque: 1 }),
    Buffer.from(JSON.stringify({ clientID: 'x'.repeat(400_000) })),
  )
  const peers = await Promise.all(Array.from({ length: 3 }, () => raw()))
  for (const peer of peers) peer.send(request.subarray(0, 400_000))
  await eventually(async () => (peers.some((peer) => peer.isClosed) ? true : undefined))
  const left = peers.filter((peer) => !peer.isClosed)
  t.is(left.length, 2)
  for (const peer of left) {
    peer.send(request.subarray(400_000))
    t.is((await peer.read(4)).length, 4)
  }
})
