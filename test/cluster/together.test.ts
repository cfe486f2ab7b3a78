// A transaction before a cluster: what does not fit into one batch of one queue is refused whole.
import test from 'ava'
import { systemClock } from '../../src/clock.ts'
import { openClusterBroker } from '../../src/cluster/broker.ts'
import { codeOf, newMessage, receiptsOf, receiveRequest, topicOf } from '../support/broker.ts'
import { startServer } from '../support/server.ts'

test('a transaction of several queues is refused: nothing is stored and nothing settled', async (t) => {
  const server = await startServer(t)
  const options = { nameServers: [server.address('nameServer')] }
  const broker = await openClusterBroker({ clock: systemClock, name: 'gateway', options })
  t.teardown(() => broker.close())
  for (const name of ['in', 'out', 'other']) await broker.topics.put(topicOf(name, 1))
  await broker.groups.ensure('workers')
  await broker.publish([newMessage('in')])
  const received = await broker.receive(receiveRequest('in', 'workers', { waitMs: 20_000 }))
  const [receipt] = receiptsOf(received)
  const settlements = [{ receipt: receipt!, verdict: { kind: 'ack' } as const }]
  const late = newMessage('out', { properties: { TIMER_DELAY_MS: '60000' } })
  for (const messages of [
    [newMessage('out'), newMessage('other')],
    [newMessage('out', { orderingKey: 'a' }), newMessage('out', { orderingKey: 'b' })],
    [newMessage('out'), late],
  ]) {
    t.is(await codeOf(broker.publishAndSettle(messages, settlements)), 'NOT_SUPPORTED')
  }
  for (const name of ['out', 'other']) {
    const [range] = await broker.topics.ranges(name)
    t.is(Number(range?.maxOffset), 0)
  }
  t.deepEqual(await broker.ack([receipt!]), [null])
})
