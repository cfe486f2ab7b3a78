import { readFile } from 'node:fs/promises'
import { deflateSync } from 'node:zlib'
import test, { type ExecutionContext } from 'ava'
import { BrokerError } from '../../../src/errors.ts'
import { Inflation } from '../../../src/gateway/remoting/inflation.ts'
import type { NewMessage } from '../../../src/model/message.ts'
import { newMessage } from '../../support/broker.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { pull, sendFrame, startFrontEnd } from '../../support/native/native-front-end.ts'
import { decodeMessages } from '../../support/native/wire-message.ts'
import { countTurns, endSlicesAtOnce } from '../../support/turns.ts'

const BODY_BYTES_MAX = 4 * 1024 * 1024
const ZLIB = 0x301
const LZ4 = 0x101
const ZSTANDARD = 0x201
const FOLDER = new URL('../../../../test/support/compressed/', import.meta.url)
const compressed = (name: string): Promise<Buffer> => readFile(new URL(name, FOLDER))

const message = (body: Buffer, sysFlag: number): NewMessage => ({
  ...newMessage('T'),
  body,
  sysFlag,
})

/** Lengths of the bodies; undefined: it stays as it was. */
async function inflated(
  inflation: Inflation,
  messages: readonly NewMessage[],
): Promise<(number | undefined)[]> {
  const done = await inflation.inflate(messages, BODY_BYTES_MAX)
  return done.map(({ body, sysFlag }) => (sysFlag === 0 ? body.length : undefined))
}

test('the bodies of one request are inflated up to a sum', async (t) => {
  const inflation = new Inflation(new FakeClock())
  const body = deflateSync(Buffer.alloc(3 * 1024 * 1024))
  const three = [1, 2, 3].map(() => message(body, ZLIB))
  const bytes = 3 * 1024 * 1024
  t.deepEqual(await inflated(inflation, three), [bytes, bytes, undefined])
  t.deepEqual(await inflated(inflation, [message(body, ZLIB)]), [bytes])
})

test('many small bodies have their share as well', async (t) => {
  const small = message(deflateSync(Buffer.from('small')), ZLIB)
  const lengths = await inflated(new Inflation(new FakeClock()), new Array(1025).fill(small))
  t.deepEqual(lengths, [...new Array(1024).fill(5), undefined])
})

test('a small body is there at once', (t) => {
  const small = message(deflateSync(Buffer.from('small')), ZLIB)
  const done = new Inflation(new FakeClock()).inflate([small], BODY_BYTES_MAX)
  t.deepEqual(done, [{ ...small, body: Buffer.from('small'), sysFlag: 0 }])
})

for (const [size, bytes] of [
  ['small', 10],
  ['large', 100_000],
] as const) {
  test(`what is no zlib stream is an invalid message, in words, ${size} as it is`, async (t) => {
    const wrong = message(Buffer.alloc(bytes, 'no zlib'), ZLIB)
    const inflate = async () => new Inflation(new FakeClock()).inflate([wrong], BODY_BYTES_MAX)
    const error = await t.throwsAsync(inflate, { instanceOf: BrokerError })
    t.is(error.code, 'MESSAGE_INVALID')
    t.regex(error.message, /cannot be inflated: incorrect header check$/)
  })
}

/** An inflation whose slices are over at once, and the turns that it takes. */
function sliced(t: ExecutionContext) {
  const clock = new FakeClock()
  endSlicesAtOnce(t, clock)
  return { inflation: new Inflation(clock), turns: countTurns(t) }
}

for (const [method, file, sysFlag] of [
  ['LZ4', 'orders-plain.lz4', LZ4],
  ['Zstandard', 'orders-3.zst', ZSTANDARD],
] as const) {
  test(`a large body in ${method} takes many turns, and so does the one behind it`, async (t) => {
    const { inflation, turns } = sliced(t)
    const body = await compressed(file)
    // As frames one behind the other, which is one body.
    const large = message(Buffer.concat(new Array(20).fill(body)), sysFlag)
    const both = await Promise.all([inflated(inflation, [large]), inflated(inflation, [large])])
    t.deepEqual(both, [[20 * 165_341], [20 * 165_341]])
    t.true(turns() >= 40, `${turns()} turns`)
  })
}

test('a small body that finds no time in its turn waits for no large one', async (t) => {
  const clock = new FakeClock()
  let isSliceOver = false
  clock.monotonic = () => (isSliceOver ? Date.now() + 1000 : 0)
  const inflation = new Inflation(clock)
  const large = message(deflateSync(Buffer.alloc(3 * 1024 * 1024)), ZLIB)
  const order: string[] = []
  const inflate = async (name: string, one: NewMessage): Promise<void> => {
    await inflation.inflate([one], BODY_BYTES_MAX)
    order.push(name)
  }
  const larges = [1, 2, 3].map((i) => inflate(`large ${i}`, large))
  isSliceOver = true
  const small = inflate('small', message(deflateSync(Buffer.from('small')), ZLIB))
  isSliceOver = false
  await Promise.all([...larges, small])
  t.is(order[0], 'small')
})

test('what follows on the connection is stored behind a body that takes many turns', async (t) => {
  const { raw, clock, connect } = await startFrontEnd(t)
  const peer = await raw()
  endSlicesAtOnce(t, clock)
  const body = Buffer.concat(new Array(20).fill(await compressed('orders-3.zst')))
  const order = [
    sendFrame(1, { topic: 'T', e: 0, body: Buffer.from('before') }),
    sendFrame(2, { topic: 'T', e: 0, body, f: ZSTANDARD }),
    sendFrame(3, { topic: 'T', e: 0, body: Buffer.from('behind') }),
  ]
  peer.send(...order)
  for (const _ of order) await peer.read((await peer.read(4)).readInt32BE())
  const other = await connect()
  const bodies: string[] = []
  for (let offset = 0; offset < order.length; offset++) {
    const [stored] = decodeMessages((await pull(other, { topic: 'T', offset, max: 1 })).body)
    bodies.push(stored!.body.toString('utf8', 0, 6))
  }
  t.deepEqual(bodies, ['before', 'order ', 'behind'])
})
