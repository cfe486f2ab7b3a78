import test from 'ava'
import { logPosition } from '../../src/model/positions.ts'
import { RecordView, recordsOf } from '../../src/model/record.ts'
import { BROKER, newMessage, pullRequest, startBroker } from '../support/broker.ts'

test('a message of a deleted topic is found by neither place nor key', async (t) => {
  const { broker } = await startBroker(t)
  const publish = (body: string) =>
    broker.publish([newMessage('orders', { queueId: 0, body, properties: { KEYS: 'k' } })])
  await publish('old')
  const { records } = await broker.pull(pullRequest('orders'))
  const { position } = [...recordsOf(records)][0]!
  await broker.topics.delete('orders')
  await publish('new')
  t.is(await broker.lookup.byPosition(BROKER, position), undefined)
  const found = await broker.lookup.byKey('orders', 'k', { max: 10 })
  t.deepEqual(
    found.map((record) => new RecordView(record).body.toString()),
    ['new'],
  )
})

test("the broker's own facts are found by no lookup", async (t) => {
  const { broker, store } = await startBroker(t)
  await broker.topics.ensure('orders')
  const { logStart, logEnd } = store.status()
  for (let position: number = logStart; position < logEnd; position++) {
    t.is(await broker.lookup.byPosition(BROKER, logPosition(position)), undefined)
  }
})

test('the status counts what went in and out', async (t) => {
  const { broker } = await startBroker(t)
  await broker.publish([newMessage('orders', { queueId: 0 }), newMessage('orders', { queueId: 0 })])
  await broker.pull(pullRequest('orders', { maxMessages: 1 }))
  const status = await broker.status()
  t.like(status, { messagesIn: 2, messagesOut: 1, writable: true, flush: 'sync', groups: 0 })
  t.true(status.logEnd > status.logStart)
})
