import test from 'ava'
import { CODEC_BINARY, CODEC_JSON } from '../../../src/remoting/frame.ts'
import { fields, pull, send, startFrontEnd } from '../../support/native/native-front-end.ts'

for (const [name, codec] of [
  ['JSON', CODEC_JSON],
  ['binary', CODEC_BINARY],
] as const) {
  test(`by the ${name} codec a delayed send is answered with a handle, which takes it back for good`, async (t) => {
    const front = await startFrontEnd(t)
    const { connect, broker } = front
    const connection = await connect({ codec })
    const delayed = { topic: 'T', properties: { UNIQ_KEY: 'ID1', TIMER_DELAY_MS: '5000' } }
    const sent = await send(connection, delayed)
    t.is(sent.code, 0)
    const recallHandle = sent.fields.get('recallHandle')!
    t.is(Buffer.from(recallHandle, 'base64url').toString().split(' ')[4], 'ID1')
    const recalled = await connection.request(370, {
      fields: fields({ topic: 'T', recallHandle, producerGroup: 'PG' }),
    })
    t.is(recalled.code, 0)
    t.is(recalled.fields.get('msgId'), 'ID1')
    t.is((await broker.status()).pendingDelayed, 0)
    const again = await front.crash()
    t.is((await again.broker.status()).pendingDelayed, 0)
  })
}

test('a send that is not delayed is answered without a handle', async (t) => {
  const { connect } = await startFrontEnd(t)
  const connection = await connect()
  t.false((await send(connection, { topic: 'T' })).fields.has('recallHandle'))
})

test("a recall that fails has the code and the remark of Apache's broker", async (t) => {
  const { connect, clock } = await startFrontEnd(t)
  const connection = await connect()
  const properties = { TIMER_DELAY_MS: '5000' }
  const recallHandle = (await send(connection, { topic: 'T', properties })).fields.get(
    'recallHandle',
  )!
  const recall = async (topic: string, handle: string): Promise<[number, string | undefined]> => {
    const asked = fields({ topic, recallHandle: handle })
    const { code, remark } = await connection.request(370, { fields: asked })
    return [code, remark]
  }
  t.deepEqual(await recall('U', recallHandle), [17, 'recall failed, the topic[U] not exist'])
  t.deepEqual(await recall('T', ''), [604, 'recall handle is invalid'])
  clock.advance(5000)
  await pull(connection, { topic: 'T', sysFlag: 2, suspendMs: 60_000 })
  t.deepEqual(await recall('T', recallHandle), [604, 'recall failed, timestamp invalid'])
})

test('where recall is switched off it is refused', async (t) => {
  const { connect, broker } = await startFrontEnd(t, { broker: { recall: false } })
  const connection = await connect()
  await broker.topics.ensure('T')
  const asked = { fields: fields({ topic: 'T', recallHandle: 'x' }) }
  const { code, remark } = await connection.request(370, asked)
  t.deepEqual([code, remark], [16, 'recall failed, operation is forbidden'])
})
