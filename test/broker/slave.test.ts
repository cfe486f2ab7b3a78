import test from 'ava'
import { FACT } from '../../src/broker/facts/fact-writer.ts'
import { openSlaveBroker } from '../../src/broker/slave.ts'
import { systemClock } from '../../src/clock.ts'
import { silentLogger } from '../../src/log.ts'
import { Numbers } from '../../src/numbers/numbers.ts'
import { startMaster, startSlave } from '../support/master-and-slave.ts'
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
