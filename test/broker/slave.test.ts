import test from 'ava'
import { FACT } from '../../src/broker/facts/fact-writer.ts'
import { openSlaveBroker } from '../../src/broker/slave.ts'
import { systemClock } from '../../src/clock.ts'
import { silentLogger } from '../../src/log.ts'
import { Numbers } from '../../src/numbers/numbers.ts'
import { startMaster, startSlave } from '../support/master-and-slave.ts'
import { overridden } from '../support/overridden.ts'
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
