import test from 'ava'
import { Unconfirmed } from '../../src/errors.ts'
import type { LogPosition } from '../../src/model/positions.ts'
import type { Appended } from '../../src/store/store.ts'
import { startMaster, startSlave } from '../support/store/master-and-slave.ts'
import { draft } from '../support/store/store-contents.ts'
import { eventually } from '../support/waiting.ts'

const one = (text: string) => ({ messages: [draft('A', text)] })
const isSettled = async (promise: Promise<unknown>): Promise<boolean> => {
  const pending = Symbol('pending')
  return (await Promise.race([promise, Promise.resolve(pending)])) !== pending
}

test('a message is acknowledged once a slave has it on its disk, not before', async (t) => {
  const master = await startMaster(t)
  const append = master.store.append(one('a'))
  await eventually(async () => master.store.replication.syncedEnd > 0)
  t.false(await isSettled(append))
  t.is(Number(master.store.range('A', 0).maxOffset), 0)
  const slave = await startSlave(t, master.address)
  const [appended] = await append
  t.true(slave.store.replication.syncedEnd > appended!.position)
  t.is(Number(master.store.range('A', 0).maxOffset), 1)
})

test('of two slaves one is enough, or both are needed, as it is configured', async (t) => {
  const master = await startMaster(t, { replicas: { inSyncReplicas: 3 } })
  const first = await startSlave(t, master.address)
  const append = master.store.append(one('a'))
  await first.caughtUp(master)
  await eventually(async () => {
    return master.replicas.all[0]?.confirmedTo === master.store.replication.syncedEnd
  })
  t.false(await isSettled(append))
  const second = await startSlave(t, master.address, { identity: { brokerId: 2 } })
  const [{ position }] = (await append) as [Appended]
  for (const { store } of [first, second]) t.true(store.replication.syncedEnd > position)
})

test('without a slave in time the sender is told that it is stored here alone', async (t) => {
  const master = await startMaster(t, { replicas: { slaveTimeoutMs: 50 } })
  const error = await t.throwsAsync(master.store.append(one('a')), { instanceOf: Unconfirmed })
  t.is(error?.code, 'NO_REPLICA')
  const [appended] = error!.done as readonly Appended[]
  t.is(Number(appended?.queueOffset), 0)
  t.is(Number(master.store.range('A', 0).maxOffset), 1)
  const slave = await startSlave(t, master.address)
  await slave.caughtUp(master)
  t.is(Number(slave.store.range('A', 0).maxOffset), 1)
})

test('a slave that does not confirm in time is another answer than none', async (t) => {
  const master = await startMaster(t, { replicas: { slaveTimeoutMs: 50, inSyncReplicas: 2 } })
  const slave = await startSlave(t, master.address)
  await eventually(async () => master.replicas.inSync === 2)
  // Connected, and deaf to what comes.
  let letGo: (end: LogPosition) => void = () => {}
  const taken = new Promise<LogPosition>((resolve) => {
    letGo = resolve
  })
  slave.store.replication.take = () => taken
  await t.throwsAsync(master.store.append(one('a')), { code: 'NOT_REPLICATED' })
  letGo(slave.store.replication.syncedEnd)
})

test('with too few copies in sync messages are refused, and offsets are kept', async (t) => {
  const master = await startMaster(t, {
    replicas: { inSyncReplicas: 1, inSyncReplicasMin: 2, slaveTimeoutMs: 100 },
  })
  await t.throwsAsync(master.store.append(one('a')), {
    code: 'REPLICAS_TOO_FEW',
    message: /in-sync replicas not enough.*nothing was stored/,
  })
  t.is(Number(master.store.range('A', 0).maxOffset), 0)
  const facts = [{ kind: 'cursor', key: 'k', value: Buffer.from('1') }]
  await master.store.append({ messages: [], facts })
  const slave = await startSlave(t, master.address)
  await eventually(async () => master.replicas.inSync === 2)
  await master.store.append(one('b'))
  await slave.slave.close()
  await eventually(async () => master.replicas.inSync === 1)
  await t.throwsAsync(master.store.append(one('c')), { code: 'REPLICAS_TOO_FEW' })
})

test('an ASYNC_MASTER waits for nothing', async (t) => {
  const master = await startMaster(t, { replicas: { isSync: false, inSyncReplicasMin: 2 } })
  const [appended] = await master.store.append(one('a'))
  t.is(Number(appended?.queueOffset), 0)
})

test('a master that stops confirms nothing that no slave has', async (t) => {
  const master = await startMaster(t)
  const append = master.store.append(one('a'))
  await eventually(async () => master.store.replication.syncedEnd > 0)
  await master.close()
  await t.throwsAsync(append, { code: 'CLOSED' })
})
