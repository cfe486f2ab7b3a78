// Messages by id and by key over the wire: what comes, and that asking for much costs the asker.
import test from 'ava'
import { type Command, encodeCommand, requestHeader } from '../../../src/remoting/command.ts'
import { decodeMessages } from '../../../src/remoting/message.ts'
import { fields, send, startFrontEnd } from '../../support/native-front-end.ts'

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
