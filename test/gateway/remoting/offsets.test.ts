import test from 'ava'
import { type Command, encodeCommand, requestHeader } from '../../../src/remoting/command.ts'
import type { RemotingConnection } from '../../../src/remoting/connection.ts'
import { decodeCommittedOffsets } from '../../../src/remoting/requests/offsets.ts'
import {
  fields,
  heartbeat,
  pull,
  send,
  startFrontEnd,
} from '../../support/native/native-front-end.ts'
import { decodeMessages } from '../../support/native/wire-message.ts'

const ask = (
  connection: RemotingConnection,
  code: number,
  values: Record<string, string | number | boolean>,
): Promise<Command> =>
  connection.request(code, {
    fields: fields({ topic: 'T', queueId: 0, consumerGroup: 'G', ...values }),
  })

test('a committed offset is told again; a negative one is not taken', async (t) => {
  const { connect, broker } = await startFrontEnd(t)
  const connection = await connect()
  await send(connection, { topic: 'T' })
  t.is((await ask(connection, 15, { commitOffset: 1 })).code, 26)
  await broker.groups.ensure('G')
  t.is((await ask(connection, 15, { commitOffset: 1 })).code, 0)
  t.is((await ask(connection, 14, {})).fields.get('offset'), '1')
  t.is((await ask(connection, 15, { commitOffset: -1 })).code, 0)
  t.is((await ask(connection, 14, {})).fields.get('offset'), '1')
})

test('a tool that is no member sets the first offset of a group that has members', async (t) => {
  const { connect } = await startFrontEnd(t)
  const [member, tool] = [await connect(), await connect()]
  await send(member, { topic: 'T' })
  await heartbeat(member, 'c1', [{ group: 'G', topics: { T: '*' } }])
  t.is((await ask(tool, 15, { commitOffset: 1 })).remark, undefined)
  t.is((await ask(tool, 14, {})).fields.get('offset'), '1')
})

test('a new group starts a young queue at its beginning, unless it asks otherwise', async (t) => {
  const { connect } = await startFrontEnd(t)
  const connection = await connect()
  t.is((await ask(connection, 14, { topic: 'Nowhere' })).fields.get('offset'), '0')
  await send(connection, { topic: 'T' })
  t.is((await ask(connection, 14, {})).fields.get('offset'), '0')
  const strict = await ask(connection, 14, { setZeroIfNotFound: false })
  t.is(strict.code, 22)
})

test('the ends of a queue and its first time are told', async (t) => {
  const { connect, clock } = await startFrontEnd(t)
  const connection = await connect()
  t.is((await ask(connection, 32, {})).code, 17)
  await send(connection, { topic: 'T' })
  const first = clock.now()
  clock.advance(1000)
  await send(connection, { topic: 'T' })
  t.is((await ask(connection, 30, {})).fields.get('offset'), '2')
  t.is((await ask(connection, 31, {})).fields.get('offset'), '0')
  t.is((await ask(connection, 32, {})).fields.get('timestamp'), String(first))
  t.is((await ask(connection, 32, { queueId: 1 })).fields.get('timestamp'), '-1')
})

test('an offset is found by time', async (t) => {
  const { connect, clock } = await startFrontEnd(t)
  const connection = await connect()
  const times: number[] = []
  for (let i = 0; i < 3; i++) {
    times.push(clock.now())
    await send(connection, { topic: 'T' })
    clock.advance(1000)
  }
  const at = async (timestamp: number, boundaryType = 'lower'): Promise<string | undefined> =>
    (await ask(connection, 29, { timestamp, boundaryType })).fields.get('offset')
  t.is(await at(times[1]!), '1')
  t.is(await at(times[1]! + 1), '2')
  t.is(await at(times[1]! + 1, 'upper'), '1')
  t.is(await at(times[2]! + 5000), '3')
  t.is(await at(0), '0')
  t.is((await ask(connection, 29, { timestamp: 1, boundaryType: 'middle' })).code, 29)
})

test('all committed offsets are listed by group and topic', async (t) => {
  const { connect } = await startFrontEnd(t)
  const connection = await connect()
  for (let i = 0; i < 2; i++) await send(connection, { topic: 'T' })
  // The group exists once it pulled.
  await pull(connection, { topic: 'T', sysFlag: 5, commitOffset: 2 })
  const all = decodeCommittedOffsets((await connection.request(43)).body)
  t.deepEqual(
    all.filter((entry) => entry.topic === 'T'),
    [{ group: 'G', topic: 'T', queueId: 0, offset: 2 }],
  )
})

test('a message is found by its position, by key and by unique id', async (t) => {
  const { connect } = await startFrontEnd(t)
  const connection = await connect()
  const properties = { KEYS: 'order-1 order-2', UNIQ_KEY: 'C0A80001' }
  const sent = await send(connection, { topic: 'T', properties, body: Buffer.from('found') })
  const position = Number.parseInt(sent.fields.get('msgId')!.slice(16), 16)
  const viewed = await connection.request(33, { fields: fields({ offset: position }) })
  t.is(decodeMessages(viewed.body)[0]!.body.toString(), 'found')
  t.is((await connection.request(33, { fields: fields({ offset: position + 1 }) })).code, 1)
  const query = async (key: string, unique: boolean): Promise<Command> =>
    connection.request(12, {
      fields: fields({
        ...{ topic: 'T', key, maxNum: 32, beginTimestamp: 0 },
        ...{ endTimestamp: '9223372036854775807', _UNIQUE_KEY_QUERY: unique },
      }),
    })
  for (const [key, unique] of [
    ['order-1', false],
    ['order-2', false],
    ['C0A80001', true],
  ] as const) {
    const answer = await query(key, unique)
    t.is(answer.code, 0, key)
    t.is(decodeMessages(answer.body)[0]!.body.toString(), 'found')
    t.true(answer.fields.has('indexLastUpdateTimestamp'))
  }
  t.is((await query('order-3', false)).code, 22)
})

// Messages by id and by key over the wire: what comes, and that asking for much costs the asker.

const VIEW_MESSAGE = 33
const QUERY_MESSAGE = 12
const LARGE_BYTES = 4_000_000

/** An id ends with the position in the log, as 16 hexadecimal digits. */
const positionOf = (sent: Command): string =>
  String(Number.parseInt(sent.fields.get('msgId')!.slice(16), 16))

test('a peer that does not read has few messages looked up for it, however many it asks for', async (t) => {
  const { connect, raw, broker } = await startFrontEnd(t)
  const healthy = await connect()
  const sent = await send(healthy, { topic: 'T', body: Buffer.alloc(LARGE_BYTES) })
  const lookup = broker.lookup as { byPosition: typeof broker.lookup.byPosition }
  const { byPosition } = lookup
  let looked = 0
  lookup.byPosition = (...at) => {
    looked++
    return byPosition(...at)
  }
  const peer = await raw()
  peer.pause()
  const ask = fields({ offset: positionOf(sent) })
  const requests = Array.from({ length: 500 }, (_, opaque) =>
    encodeCommand(requestHeader({ code: VIEW_MESSAGE, opaque, fields: ask })),
  )
  peer.send(...requests)
  for (let i = 0; i < 50; i++) t.is((await send(healthy, { topic: 'T' })).code, 0)
  t.true(looked > 0)
  t.true(looked < 10, `${looked} messages of 4 MB were read for a peer that takes none`)
})

test('a peer that reads gets every message it looks up', async (t) => {
  const { connect } = await startFrontEnd(t)
  const connection = await connect()
  const sent = await send(connection, { topic: 'T', body: Buffer.alloc(LARGE_BYTES) })
  const ask = { fields: fields({ offset: positionOf(sent) }), timeoutMs: 30_000 }
  const answers = await Promise.all(
    Array.from({ length: 20 }, () => connection.request(VIEW_MESSAGE, ask)),
  )
  for (const { code, body } of answers) {
    t.is(code, 0)
    t.is(decodeMessages(body)[0]?.body.length, LARGE_BYTES)
  }
})

test('an answer to a query by key stays below what clients take as one frame', async (t) => {
  const { connect } = await startFrontEnd(t)
  const connection = await connect()
  const message = { topic: 'T', body: Buffer.alloc(LARGE_BYTES), properties: { KEYS: 'k' } }
  for (let i = 0; i < 5; i++) t.is((await send(connection, message)).code, 0)
  const answer = await connection.request(QUERY_MESSAGE, {
    fields: fields({
      ...{ topic: 'T', key: 'k', maxNum: 64, beginTimestamp: 0 },
      endTimestamp: Number.MAX_SAFE_INTEGER,
    }),
    timeoutMs: 30_000,
  })
  t.is(answer.code, 0)
  t.is(decodeMessages(answer.body).length, 2)
})
