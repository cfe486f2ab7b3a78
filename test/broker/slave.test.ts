import { isDeepStrictEqual } from 'node:util'
import test from 'ava'
import { openBroker } from '../../src/broker/broker.ts'
import { FACT } from '../../src/broker/facts/fact-writer.ts'
import { openSlaveBroker } from '../../src/broker/slave.ts'
import { systemClock } from '../../src/clock.ts'
import { BrokerError } from '../../src/errors.ts'
import { silentLogger } from '../../src/log.ts'
import { groupDefaults } from '../../src/model/group.ts'
import { logPosition, queueOffset } from '../../src/model/positions.ts'
import { Numbers } from '../../src/numbers/numbers.ts'
import type { Broker } from '../../src/port/broker.ts'
import { newMessage, queueOf, topicOf } from '../support/broker.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { overridden } from '../support/overridden.ts'
import { startMaster, startSlave } from '../support/store/master-and-slave.ts'
import { eventually } from '../support/waiting.ts'

test('a state that a slave refuses is not there, and hides none of its master', async (t) => {
  const master = await startMaster(t, { replicas: { isSync: false } })
  const slave = await startSlave(t, master.address)
  const parts = { clock: systemClock, log: silentLogger, numbers: new Numbers() }
  const broker = openSlaveBroker({ ...parts, store: slave.store, options: {} })
  t.teardown(() => broker.close())
  const value = Buffer.from('of the slave')
  await t.throwsAsync(broker.states.save('id', value), { code: 'BUSY' })
  await t.throwsAsync(broker.states.saveSoon('id', value), { code: 'BUSY' })
  await t.throwsAsync(broker.states.delete('id'), { code: 'BUSY' })
  t.is(await broker.states.load('id'), undefined)
  const facts = [{ kind: FACT.state, key: 'id', value: Buffer.from('of the master') }]
  await master.store.append({ messages: [], facts })
  const state = await eventually(() => broker.states.load('id'))
  t.is(state.value.toString(), 'of the master')
})

test('a slave takes over what changed, and does not look at what did not', async (t) => {
  const master = await startMaster(t, { replicas: { isSync: false } })
  const fact = (i: number, value: string | null) => {
    return { kind: FACT.state, key: `s${i}`, value: value === null ? null : Buffer.from(value) }
  }
  const facts = Array.from({ length: 500 }, (_, i) => fact(i, 'before'))
  await master.store.append({ messages: [], facts })
  const slave = await startSlave(t, master.address)
  await slave.caughtUp(master)
  let asked = 0
  const store = overridden(slave.store, {
    fact: (kind, key) => {
      asked++
      return slave.store.fact(kind, key)
    },
    facts: (kind) => {
      const all = [...slave.store.facts(kind)]
      asked += all.length
      return all
    },
  })
  const parts = { clock: systemClock, log: silentLogger, numbers: new Numbers() }
  const broker = openSlaveBroker({ ...parts, store, options: {} })
  t.teardown(() => broker.close())
  await broker.followed()
  asked = 0
  await master.store.append({ messages: [], facts: [fact(7, 'after'), fact(8, null)] })
  await slave.caughtUp(master)
  await broker.followed()
  const few = asked
  t.true(few >= 2 && few < 20, `${few} facts were looked at`)
  t.is((await broker.states.load('s7'))?.value.toString(), 'after')
  t.is(await broker.states.load('s8'), undefined)
  t.is((await broker.states.load('s9'))?.value.toString(), 'before')
})

test('topics and groups that a master just made are known to clients of its slave', async (t) => {
  const master = await startMaster(t, { replicas: { isSync: false } })
  const slave = await startSlave(t, master.address)
  const clock = new FakeClock()
  const parts = { clock, log: silentLogger, numbers: new Numbers() }
  const options = { autoCreateGroups: false }
  const broker = openSlaveBroker({ ...parts, store: slave.store, options })
  t.teardown(() => broker.close())
  const ofMaster = openBroker({ ...parts, store: master.store, options: {} })
  t.teardown(() => ofMaster.close())
  await ofMaster.topics.put(topicOf('orders', 1))
  await ofMaster.groups.put(groupDefaults('billing'))
  await slave.caughtUp(master)
  t.is((await broker.topics.ensure('orders')).name, 'orders')
  t.is((await broker.groups.ensure('billing')).name, 'billing')
})

test('of a slave that became the master no changes are gathered', async (t) => {
  const master = await startMaster(t, { replicas: { isSync: false } })
  const slave = await startSlave(t, master.address)
  const parts = { clock: systemClock, log: silentLogger, numbers: new Numbers() }
  const broker = openSlaveBroker({ ...parts, store: slave.store, options: {} })
  await broker.close()
  await master.store.append({
    messages: [],
    facts: [{ kind: FACT.state, key: 's', value: Buffer.from('later') }],
  })
  await slave.caughtUp(master)
  await eventually(() => Promise.resolve(slave.store.fact(FACT.state, 's')))
  t.is(slave.store.takeChangedFacts(), undefined)
})

const END = {
  half: { brokerName: 'broker-a', position: logPosition(0), queueOffset: queueOffset(0) },
  group: 'senders',
  outcome: 'commit',
} as const

const CHANGES: Readonly<Record<string, (broker: Broker) => Promise<unknown>>> = {
  'topics.put': ({ topics }) => topics.put(topicOf('new', 1)),
  'topics.put of one that is there': ({ topics }) => topics.put(topicOf('orders', 7)),
  'topics.delete': ({ topics }) => topics.delete('orders'),
  'groups.put': ({ groups }) => groups.put(groupDefaults('new')),
  'groups.delete': ({ groups }) => groups.delete('billing'),
  'permission.set': ({ permission }) => permission.set(4),
  'cursors.commit': ({ cursors }) => cursors.commit('billing', queueOf('orders'), queueOffset(1)),
  'cursors.reset': ({ cursors }) => cursors.reset('billing', queueOf('orders'), queueOffset(1)),
  'lightQueues.bind': ({ lightQueues }) => lightQueues!.bind('orders/#', 'owner'),
  'lightQueues.hold': ({ lightQueues }) => lightQueues!.hold('orders/#'),
  'states.claim': ({ states }) => states.claim('id', () => {}),
  'transactions.end': ({ transactions }) => transactions.end(END),
  'queueLocks.lock': ({ queueLocks }) => queueLocks.lock('billing', 'c', [queueOf('orders')]),
}

test('a slave refuses what would change something, and nothing is changed', async (t) => {
  const master = await startMaster(t, { replicas: { isSync: false } })
  const parts = { clock: systemClock, log: silentLogger, numbers: new Numbers() }
  const first = openBroker({ ...parts, store: master.store, options: {} })
  t.teardown(() => first.close())
  await first.topics.put(topicOf('orders', 1))
  await first.groups.put(groupDefaults('billing'))
  await first.publish([newMessage('orders')])
  const slave = await startSlave(t, master.address)
  await slave.caughtUp(master)
  const broker = openSlaveBroker({
    ...parts,
    numbers: new Numbers(),
    store: slave.store,
    options: {},
  })
  t.teardown(() => broker.close())
  await broker.followed()
  const seen = async () => ({
    topics: await broker.topics.list(),
    groups: await broker.groups.list(),
    permission: await broker.permission.get(),
    committed: await broker.cursors.committed('billing', queueOf('orders')),
  })
  t.is((await broker.topics.ensure('orders')).name, 'orders')
  await t.throwsAsync(broker.topics.ensure('new'), { code: 'TOPIC_NOT_FOUND' })
  let before = await seen()
  const taken: string[] = []
  for (const [name, change] of Object.entries(CHANGES)) {
    const outcome = await change(broker).then(
      () => 'done',
      (error: unknown) => BrokerError.from(error).code,
    )
    const after = await seen()
    const isSame = isDeepStrictEqual(after, before)
    if (outcome !== 'BUSY' || !isSame) taken.push(`${name}: ${outcome}${isSame ? '' : ', changed'}`)
    before = after
  }
  t.deepEqual(taken, [])
})
