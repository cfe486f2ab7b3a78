// Following topics over a cluster while what is followed goes away and comes again.
import test, { type ExecutionContext } from 'ava'
import { connect } from '../../src/client/index.ts'
import { type ClusterBroker, openClusterBroker } from '../../src/cluster/broker.ts'
import { encodeStateRecord } from '../../src/cluster/states/state-record.ts'
import { STATE_TOPIC } from '../../src/model/names.ts'
import { PERM_WRITE } from '../../src/model/topic.ts'
import { newMessage, topicOf } from '../support/broker.ts'
import { RunningClock } from '../support/running-clock.ts'
import { startServer } from '../support/server.ts'

async function opened(t: ExecutionContext): Promise<{
  broker: ClusterBroker
  clock: RunningClock
  nameServers: readonly string[]
  open: () => Promise<ClusterBroker>
}> {
  const clock = new RunningClock()
  t.teardown(clock.run())
  const server = await startServer(t, { clock })
  const nameServers = [server.address('nameServer')]
  const open = async (): Promise<ClusterBroker> => {
    const broker = await openClusterBroker({ clock, name: 'gateway', options: { nameServers } })
    t.teardown(() => broker.close())
    return broker
  }
  return { broker: await open(), clock, nameServers, open }
}

test('a topic that nothing can be read of is watched at leisure', async (t) => {
  const { broker } = await opened(t)
  await broker.topics.put({ ...topicOf('orders', 1), perm: PERM_WRITE })
  using _ = broker.watch('orders', () => {})
  // What goes on without end would leave the loop no turn.
  for (let turn = 0; turn < 100; turn++) await new Promise((resolve) => setImmediate(resolve))
  t.pass()
})

test('what was there before a watch began counts as news', async (t) => {
  const { broker } = await opened(t)
  await broker.topics.put(topicOf('orders', 1))
  await broker.publish([newMessage('orders', { body: 'a', queueId: 0 })])
  const maxOffset = await new Promise((resolve) => {
    const watch = broker.watch('orders', (_brokerName, _queueId, offset) => {
      watch[Symbol.dispose]()
      resolve(offset)
    })
  })
  t.is(maxOffset, 1)
})

test('a state topic that was made anew is followed from there on', async (t) => {
  const { broker, clock, nameServers } = await opened(t)
  const save = (text: string) => broker.states.save('id', Buffer.from(text))
  for (let n = 0; n < 50; n++) await save('first')
  await using mq = await connect({ nameServers })
  await mq.admin.topics.delete(STATE_TOPIC)
  await broker.topics.put(topicOf(STATE_TOPIC, 8))
  // Requests that were held for the topic before come to their end.
  await clock.pass(20_000)
  await clock.pass(1_000)
  const saving = save('second')
  await Promise.race([saving, clock.pass(20_000)])
  await saving
  t.is((await broker.states.load('id'))?.value.toString(), 'second')
})

test('a foreign record that claims to be the layout stops no start', async (t) => {
  const { broker, clock, nameServers, open } = await opened(t)
  await using mq = await connect({ nameServers })
  await mq.admin.topics.delete(STATE_TOPIC)
  await broker.topics.put(topicOf(STATE_TOPIC, 8))
  const head = { kind: 'layout', id: '', gateway: 'foreign', number: 0, expected: 0 } as const
  for (const [nonce, text] of ['[', '[]', '[1]', '{}'].entries()) {
    const body = encodeStateRecord({ ...head, nonce, value: Buffer.from(text) })
    // By turns, so that each queue has one.
    for (let n = 0; n < 8; n++) await mq.send({ topic: STATE_TOPIC, body })
  }
  const opening = open()
  await Promise.race([opening, clock.pass(10_000)])
  const version = await (await opening).states.save('id', Buffer.from('value'))
  t.true(version > 0)
})
