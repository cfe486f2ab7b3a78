import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import test, { type ExecutionContext } from 'ava'
import { systemClock } from '../../src/clock.ts'
import { Numbers } from '../../src/numbers/numbers.ts'
import { dial, type RemotingConnection } from '../../src/remoting/connection.ts'
import { writeFields } from '../../src/remoting/layout.ts'
import { openCopy } from '../../src/replication/opening.ts'
import { Replicas } from '../../src/replication/replicas.ts'
import {
  CONFIRM,
  FETCH,
  HELLO,
  REPLICATION_REQUEST,
  WIRE_VERSION,
} from '../../src/replication/wire.ts'
import type { AppendGroup } from '../../src/store/store.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { LogLines } from '../support/log-lines.ts'
import { freePort, startServer } from '../support/server.ts'
import { startMaster, startSlave, type TestMaster } from '../support/store/master-and-slave.ts'
import { draft } from '../support/store/store-contents.ts'
import { eventually } from '../support/waiting.ts'

const ASYNC = { replicas: { isSync: false } }
const one = (text: string): AppendGroup => ({ messages: [draft('A', text)] })

/** What a slave says, without a log behind it. */
async function slaveOf(t: ExecutionContext, master: TestMaster): Promise<RemotingConnection> {
  const [host, port] = master.address.split(':')
  const link = await dial({ host: host!, port: Number(port), clock: systemClock })
  t.teardown(() => link.close())
  const fields = writeFields(HELLO, {
    ...{ version: WIRE_VERSION, clusterName: 'DefaultCluster', brokerName: 'broker-a' },
    ...{ brokerId: 1, logId: master.store.replication.logId, epoch: 1, end: 0 },
  })
  await link.request(REPLICATION_REQUEST.hello, { fields })
  return link
}

const fetch = (link: RemotingConnection, from: number, synced: number) =>
  link.request(REPLICATION_REQUEST.fetch, {
    fields: writeFields(FETCH, { from, synced, waitMs: 0 }),
  })

test('a slave that is one message behind all the time is in sync', async (t) => {
  const { store } = await startMaster(t, ASYNC)
  const { replication } = store
  const [clock, log, numbers] = [new FakeClock(), new LogLines(), new Numbers()]
  const options = { inSyncReplicas: 1, inSyncReplicasMin: 2, slaveTimeoutMs: 1_000 }
  const replicas = new Replicas(
    { replication, clock, log, numbers },
    { ...options, isSync: true, slaveBehindMsMax: 15_000 },
  )
  t.teardown(() => replicas.close())
  const slave = replicas.join(1, 'here', () => {})
  replicas.confirm(slave, replication.syncedEnd)
  for (let second = 0; second < 60; second++) {
    const before = replication.syncedEnd
    await store.append(one(`message ${second}`))
    clock.advance(1_000)
    replicas.confirm(slave, before)
    t.is(replicas.inSync, 2, `after ${second} s`)
  }
  // It is heard no more.
  clock.advance(15_001)
  t.is(replicas.inSync, 1)
})

test('where nothing waits for a slave it gets together what comes within some milliseconds', async (t) => {
  const clock = new FakeClock()
  const master = await startMaster(t, { ...ASYNC, clock })
  const { replication } = master.store
  const link = await slaveOf(t, master)
  await master.store.append(one('a'))
  let at = (await fetch(link, 0, 0)).body.length
  await master.store.append(one('b'))
  const timers = clock.pending
  const second = fetch(link, at, at)
  await eventually(async () => clock.pending > timers)
  await master.store.append(one('c'))
  clock.advance(10)
  at += (await second).body.length
  t.is(at, replication.syncedEnd)
})

test('what waits for a slave is sent to it at once', async (t) => {
  const clock = new FakeClock()
  const master = await startMaster(t, { clock })
  const link = await slaveOf(t, master)
  let end = 0
  for (const text of ['a', 'b']) {
    const append = master.store.append(one(text))
    await eventually(async () => master.store.replication.syncedEnd > end)
    end += (await fetch(link, end, end)).body.length
    link.oneWay(REPLICATION_REQUEST.confirm, { fields: writeFields(CONFIRM, { synced: end }) })
    await append
  }
  t.is(end, master.store.replication.syncedEnd)
})

test('what a SYNC_MASTER found in its log is waited for until enough slaves have it', async (t) => {
  const { store } = await startMaster(t, ASYNC)
  await store.append(one('a'))
  const { replication } = store
  const [clock, log, numbers] = [new FakeClock(), new LogLines(), new Numbers()]
  const options = { inSyncReplicas: 2, inSyncReplicasMin: 1, slaveTimeoutMs: 3_000 }
  const replicas = new Replicas(
    { replication, clock, log, numbers },
    { ...options, isSync: true, slaveBehindMsMax: 15_000 },
  )
  t.teardown(() => replicas.close())
  let settled = 0
  const count = (): number => settled++
  const first = replicas.tailSettled().then(count)
  const slave = replicas.join(1, 'here', () => {})
  replicas.confirm(slave, 0)
  await new Promise(setImmediate)
  t.is(settled, 0)
  replicas.confirm(slave, replication.syncedEnd)
  await first
  replicas.leave(slave)
  // As late as a message is answered without slaves.
  const second = replicas.tailSettled().then(count)
  await new Promise(setImmediate)
  t.is(settled, 1)
  clock.advance(3_000)
  await second
  t.deepEqual(log.events(), ['replication.tail', 'replication.tail'])
})

test('a SYNC_MASTER serves no client before a slave has what was left in its log', async (t) => {
  const before = await startMaster(t, ASYNC)
  await before.store.append(one('a'))
  await before.close()
  const log = new LogLines()
  const port = await freePort()
  const starting = startServer(t, {
    log,
    config: {
      dataDir: before.directory,
      broker: { role: 'SYNC_MASTER' },
      replication: { enabled: true, port, slaveTimeoutMs: 600_000 },
    },
  })
  let isServing = false
  const served = starting.then(() => {
    isServing = true
  })
  await eventually(async () => log.events().includes('replication.tail'))
  t.false(isServing)
  await startSlave(t, `127.0.0.1:${port}`)
  await served
  t.true(isServing)
})

test('a SYNC_MASTER that waits for its slaves can be stopped', async (t) => {
  const before = await startMaster(t, ASYNC)
  await before.store.append(one('a'))
  await before.close()
  const stop = new AbortController()
  const log = new LogLines()
  const started = startServer(t, {
    ...{ log, signal: stop.signal },
    config: {
      dataDir: before.directory,
      broker: { role: 'SYNC_MASTER' },
      replication: { enabled: true, port: 0, slaveTimeoutMs: 600_000 },
    },
  })
  await eventually(async () => log.events().includes('replication.tail'))
  stop.abort()
  t.is(await started.catch((error: unknown) => error), stop.signal.reason)
})

test('a slave that has all is asked so often that it stays in sync', async (t) => {
  const master = await startMaster(t, { replicas: { isSync: false, slaveBehindMsMax: 600 } })
  const link = await slaveOf(t, master)
  await fetch(link, 0, 0)
  const fields = writeFields(FETCH, { from: 0, synced: 0, waitMs: 30_000 })
  await t.notThrowsAsync(link.request(REPLICATION_REQUEST.fetch, { fields, timeoutMs: 10_000 }))
})

test('a slave that confirms what it was not given confirms nothing', async (t) => {
  const master = await startMaster(t)
  const append = master.store.append(one('a'))
  const answered = append.then(() => 'acknowledged')
  await eventually(async () => master.store.replication.syncedEnd > 0)
  const end = master.store.replication.syncedEnd
  const link = await slaveOf(t, master)
  link.oneWay(REPLICATION_REQUEST.confirm, { fields: writeFields(CONFIRM, { synced: end }) })
  // Answered with the first frames, which it has not synced by then.
  const { body } = await fetch(link, 0, end)
  t.is(await Promise.race([answered, Promise.resolve('waits')]), 'waits')
  t.is(master.replicas.all[0]?.confirmedTo, 0)
  await fetch(link, body.length, body.length)
  t.is(await answered, 'acknowledged')
})

test('a connection whose log is not compared yet sends no slave away', async (t) => {
  const master = await startMaster(t)
  const slave = await startSlave(t, master.address)
  await master.store.append(one('a'))
  const link = await slaveOf(t, master)
  const { remark } = await fetch(link, master.store.replication.syncedEnd, 0)
  t.regex(remark ?? '', /the first FETCH says what the slave has/)
  await master.store.append(one('b'))
  t.false(slave.log.events().includes('replication.disconnected'))
  t.is(master.replicas.all.length, 1)
})

test('strangers are refused as often as they come, and the log says so once', async (t) => {
  const master = await startMaster(t, ASYNC)
  const [host, port] = master.address.split(':')
  const link = await dial({ host: host!, port: Number(port), clock: systemClock })
  const asked = Array.from({ length: 50 }, () => link.request(REPLICATION_REQUEST.fetch))
  const answers = await Promise.allSettled(asked)
  await link.closed
  t.is(answers.filter(({ status }) => status === 'fulfilled').length, 1)
  t.is(master.log.lines.filter(({ evt }) => evt === 'replication.refused').length, 1)
})

test('a slave that is stopped while its master is mute stops at once', async (t) => {
  const mute = createServer(() => {}).listen(0, '127.0.0.1')
  await once(mute, 'listening')
  t.teardown(() => mute.close())
  const asked = once(mute, 'connection')
  const ending = new AbortController()
  const copy = openCopy({
    identity: { clusterName: 'DefaultCluster', brokerName: 'broker-a', brokerId: 1 },
    master: () => ({
      address: `127.0.0.1:${(mute.address() as AddressInfo).port}`,
      // On which nothing times out.
      clock: new FakeClock(),
    }),
    ...{ clock: systemClock, log: new LogLines(), signal: ending.signal, logId: undefined },
    open: () => Promise.reject(new Error('there is nothing to open')),
    empty: () => {},
  })
  const [socket] = (await asked) as [Socket]
  t.teardown(() => socket.destroy())
  ending.abort()
  await t.throwsAsync(copy, { any: true })
})

test('what is under way when a master is deposed is answered, whatever slaves confirm', async (t) => {
  const master = await startMaster(t, { replicas: { slaveTimeoutMs: 100 } })
  const { replication } = master.store
  const refused = master.store.append(one('a')).then(
    () => 'acknowledged',
    ({ code }) => code,
  )
  master.replicas.depose(replication.epoch + 1)
  const slave = master.replicas.join(1, 'here', () => {})
  await eventually(async () => replication.syncedEnd > 0)
  master.replicas.confirm(slave, replication.syncedEnd)
  t.is(await refused, 'READ_ONLY')
})

test('a deposed master binds no light queue and drops no topic', async (t) => {
  const { store, replicas } = await startMaster(t, ASYNC)
  await store.append(one('a'))
  replicas.depose(store.replication.epoch + 1)
  await t.throwsAsync(store.bindLightQueue('a/#', true), { code: 'READ_ONLY' })
  await t.throwsAsync(store.unbindLightQueue('a/#', true), { code: 'READ_ONLY' })
  await t.throwsAsync(store.dropQueues('A'), { code: 'READ_ONLY' })
})

test('two slaves of one id take turns at a slower and slower pace', async (t) => {
  const master = await startMaster(t, ASYNC)
  const slaves = [await startSlave(t, master.address), await startSlave(t, master.address)]
  const replaced = () => master.log.events().filter((evt) => evt === 'replication.slave_replaced')
  await eventually(async () => replaced().length >= 7)
  for (const { log } of slaves) {
    const told = log.events().filter((evt) => evt === 'replication.disconnected')
    // One more where the machine stood still in between.
    t.true(told.length <= 2)
  }
})
