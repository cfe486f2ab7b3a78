// Messages that a group is handed by a condition over their properties.
import test from 'ava'
import { parseSqlFilter } from '../../src/model/sql92/sql-filter.ts'
import {
  bodiesOf,
  newMessage,
  queueOf,
  receiptsOf,
  receiveRequest,
  startBroker,
} from '../support/broker.ts'

const priced = (price: number) =>
  newMessage('orders', { queueId: 0, properties: { price: `${price}` }, body: `${price}` })

test('a receive by a condition steps over what it does not select', async (t) => {
  const { broker } = await startBroker(t)
  await broker.publish(Array.from({ length: 300 }, (_, i) => priced(i)))
  const filter = parseSqlFilter('price >= 298 OR price = 7')
  const messages = await broker.receive(receiveRequest('orders', 'billing', { filter }))
  t.deepEqual(bodiesOf(messages), ['7', '298', '299'])
  await broker.ack(receiptsOf(messages))
  t.is(await broker.cursors.committed('billing', queueOf('orders')), 300 as never)
})

test('a message that came back is handed out by the condition of that time', async (t) => {
  const { broker } = await startBroker(t)
  await broker.publish([priced(1), priced(2)])
  const request = (sql: string) =>
    receiveRequest('orders', 'billing', { filter: parseSqlFilter(sql) })
  await broker.release(receiptsOf(await broker.receive(request('price > 0'))))
  t.deepEqual(bodiesOf(await broker.receive(request('price > 1'))), ['2'])
})

test('members of a group that select by different conditions exclude each other', async (t) => {
  const { broker } = await startBroker(t)
  await broker.publish([priced(1), priced(2)])
  const request = (sql: string) =>
    receiveRequest('orders', 'billing', { filter: parseSqlFilter(sql) })
  await broker.receive(request('price > 0'))
  await t.throwsAsync(broker.receive(request('price > 1')), { code: 'SUBSCRIPTION_CONFLICT' })
})
