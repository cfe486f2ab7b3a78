import { cp, readdir } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import test from 'ava'
import { systemClock } from '../../src/clock.ts'
import { dial } from '../../src/remoting/connection.ts'
import { writeFields } from '../../src/remoting/layout.ts'
import { EPOCHS_AHEAD } from '../../src/replication/promotion.ts'
import { FETCH, HELLO, REPLICATION_REQUEST, WIRE_VERSION } from '../../src/replication/wire.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { startServer } from '../support/server.ts'
import { sameBytes, startMaster, startSlave } from '../support/store/master-and-slave.ts'
import { contentsOf, draft, fill } from '../support/store/store-contents.ts'
import { tempDir } from '../support/temp-dir.ts'
import { eventually } from '../support/waiting.ts'

const ASYNC = { replicas: { isSync: false } }
const one = (text: string) => ({ messages: [draft('A', text)] })

test('a slave has every byte of its master, and shows the same', async (t) => {
  const master = await startMaster(t, ASYNC)
  await fill(master.store, { messages: 2000, nowMs: systemClock.now() })
  const slave = await startSlave(t, master.address)
  await fill(master.store, { messages: 500, nowMs: systemClock.now() })
  await slave.caughtUp(master)
  t.true(await sameBytes(master.store, slave.store))
  t.deepEqual(await contentsOf(slave.store), await contentsOf(master.store))
})

test('what a slave has is confirmed without the next message', async (t) => {
  const master = await startMaster(t, ASYNC)
  const slave = await startSlave(t, master.address)
  await master.store.append(one('a'))
  await slave.caughtUp(master)
  await eventually(async () => {
    return master.replicas.all[0]?.confirmedTo === master.store.replication.syncedEnd
  })
  t.is(master.replicas.inSync, 2)
})

test('a slave that was stopped goes on where it was', async (t) => {
  const master = await startMaster(t, ASYNC)
  const first = await startSlave(t, master.address)
  await fill(master.store, { messages: 300, nowMs: systemClock.now() })
  await first.caughtUp(master)
  await first.close()
  await fill(master.store, { messages: 300, nowMs: systemClock.now() })
  const second = await startSlave(t, master.address, { directory: first.directory })
  await second.caughtUp(master)
  t.true(await sameBytes(master.store, second.store))
  t.false(second.log.events().includes('replication.standing'))
})

test('a slave goes on when its master comes back', async (t) => {
  const master = await startMaster(t, ASYNC)
  const { directory, address } = master
  const port = Number(address.split(':')[1])
  const slave = await startSlave(t, address)
  await master.store.append(one('a'))
  await slave.caughtUp(master)
  await master.close()
  await eventually(async () => slave.log.events().includes('replication.disconnected'))
  const again = await startMaster(t, { ...ASYNC, directory, port })
  await again.store.append(one('b'))
  await slave.caughtUp(again)
  t.true(await sameBytes(again.store, slave.store))
})

test('a slave of another log, or of another broker, is refused', async (t) => {
  const [master, stranger] = [await startMaster(t, ASYNC), await startMaster(t, ASYNC)]
  await stranger.store.append(one('x'))
  const slave = await startSlave(t, stranger.address)
  await slave.caughtUp(stranger)
  await slave.close()
  const { directory } = slave
  await t.throwsAsync(startSlave(t, master.address, { directory }), {
    message: /another|empty data directory/,
    code: 'CONFIG_INVALID',
  })
  const identity = { brokerName: 'broker-b' }
  await t.throwsAsync(startSlave(t, master.address, { identity }), {
    message: /'DefaultCluster\/broker-b' came to 'DefaultCluster\/broker-a'/,
  })
  t.is(master.replicas.all.length, 0)
})

test('a slave that is ahead of its master stands, and says so', async (t) => {
  const master = await startMaster(t, ASYNC)
  await master.store.append(one('a'))
  await master.close()
  const old = await tempDir(t)
  await cp(master.directory, old, { recursive: true })
  const grown = await startMaster(t, { ...ASYNC, directory: master.directory })
  await fill(grown.store, { messages: 300, nowMs: systemClock.now() })
  const slave = await startSlave(t, grown.address)
  await slave.caughtUp(grown)
  await Promise.all([slave.close(), grown.close()])
  // The master was put back from an old copy, and has had a restart since.
  const before = await startMaster(t, { ...ASYNC, directory: old })
  const again = await startSlave(t, before.address, { directory: slave.directory })
  const standing = await eventually(async () => again.slave.state.standing)
  t.regex(standing, /it has what this master never had, or lost/)
  t.is(again.log.lines.filter(({ evt }) => evt === 'replication.standing').length, 1)
})

test('two histories of one log are told apart where they are equally long', async (t) => {
  const master = await startMaster(t, ASYNC)
  await master.store.append(one('a'))
  await master.close()
  const other = await tempDir(t)
  await cp(master.directory, other, { recursive: true })
  const [left, right] = [
    await startMaster(t, { ...ASYNC, directory: master.directory }),
    await startMaster(t, { ...ASYNC, directory: other }),
  ]
  await left.store.append(one('left'))
  const slave = await startSlave(t, left.address)
  await slave.caughtUp(left)
  await slave.close()
  for (const text of ['right', 'more']) await right.store.append(one(text))
  const again = await startSlave(t, right.address, { directory: slave.directory })
  const standing = await eventually(async () => again.slave.state.standing)
  t.regex(standing, /their logs went apart/)
  t.false(await sameBytes(right.store, again.store))
})

test('a copy that retention overtook begins anew', async (t) => {
  const clock = new FakeClock()
  const small = { clock, segmentBytes: 1024 * 1024, retentionBytes: 16 * 1024 * 1024 }
  const master = await startMaster(t, { ...ASYNC, store: small })
  await master.store.append(one('a'))
  const slave = await startSlave(t, master.address)
  await slave.caughtUp(master)
  await slave.close()
  const large = 'x'.repeat(512 * 1024)
  const { directory } = slave
  await eventually(async () => {
    await master.store.append(one(large))
    clock.advance(60_000)
    return master.store.replication.start > 0
  })
  const again = await startSlave(t, master.address, { directory })
  t.true(again.log.events().includes('replication.overtaken'))
  await again.caughtUp(master)
  t.true(again.store.replication.start > 0)
  t.true(await sameBytes(master.store, again.store))
})

test('a log in a higher epoch deposes its former master', async (t) => {
  const master = await startMaster(t, ASYNC)
  await master.store.append(one('a'))
  const slave = await startSlave(t, master.address)
  await slave.caughtUp(master)
  await slave.slave.close()
  await slave.store.replication.promote()
  await slave.store.append(one('of the new master'))
  await slave.close()
  const { directory } = slave
  const again = await startSlave(t, master.address, { directory })
  t.regex(await eventually(async () => again.slave.state.standing), /this master was replaced/)
  await t.throwsAsync(master.store.append(one('b')), {
    code: 'READ_ONLY',
    message: /this broker was replaced/,
  })
  t.true(master.log.events().includes('replication.deposed'))
})

test('a master that was replaced follows its successor, and what it had beyond is kept', async (t) => {
  const old = await startMaster(t, ASYNC)
  await old.store.append(one('of both'))
  const slave = await startSlave(t, old.address)
  await slave.caughtUp(old)
  await slave.slave.close()
  const { replication } = slave.store
  await replication.promote(replication.epoch + EPOCHS_AHEAD)
  await old.store.append(one('of the old master alone'))
  await Promise.all([slave.close(), old.close()])
  // Started again in its old role, more often than its successor.
  for (const text of ['and', 'more', 'of it']) {
    const still = await startMaster(t, { ...ASYNC, directory: old.directory })
    await still.store.append(one(text))
    await still.close()
  }
  const successor = await startMaster(t, { ...ASYNC, directory: slave.directory })
  for (const text of ['of', 'the', 'new']) await successor.store.append(one(text))
  const again = await startSlave(t, successor.address, { directory: old.directory })
  t.true(again.log.events().includes('log.tail_cut'))
  await again.caughtUp(successor)
  t.true(await sameBytes(successor.store, again.store))
  t.is(Number(again.store.range('A', 0).maxOffset), 4)
  const kept = await readdir(join(old.directory, 'log'))
  t.is(kept.filter((name) => name.startsWith('cut-')).length, 1)
})

test('with users only an admin follows', async (t) => {
  const none = { admin: false, publish: [], consume: [], create: [] }
  const users = {
    root: { ...none, admin: true, secretKey: 'a-secret' },
    plain: { ...none, secretKey: 'another-one' },
  }
  const master = await startMaster(t, { ...ASYNC, users })
  await t.throwsAsync(startSlave(t, master.address), { code: 'UNAUTHENTICATED' })
  const plain = { accessKey: 'plain', secretKey: 'another-one' }
  await t.throwsAsync(startSlave(t, master.address, { credentials: plain }), {
    code: 'PERMISSION_DENIED',
  })
  const wrong = { accessKey: 'root', secretKey: 'not-that-one' }
  await t.throwsAsync(startSlave(t, master.address, { credentials: wrong }), {
    code: 'UNAUTHENTICATED',
  })
  const root = { accessKey: 'root', secretKey: 'a-secret' }
  const slave = await startSlave(t, master.address, { credentials: root })
  await master.store.append(one('a'))
  await slave.caughtUp(master)
  t.is(master.replicas.all.length, 1)
})

test('one that speaks another version of replication is refused, and told of both', async (t) => {
  const master = await startMaster(t, ASYNC)
  const [host, port] = master.address.split(':')
  for (const version of [WIRE_VERSION - 1, WIRE_VERSION + 1]) {
    const connection = await dial({ host: host!, port: Number(port), clock: systemClock })
    t.teardown(() => connection.close())
    const fields = writeFields(HELLO, {
      ...{ version, clusterName: 'DefaultCluster', brokerName: 'broker-a', brokerId: 1 },
    })
    const answer = await connection.request(REPLICATION_REQUEST.hello, { fields })
    t.is(answer.fields.get('error'), 'NOT_SUPPORTED')
    const told = `the slave speaks version ${version} of replication, and this master version ${WIRE_VERSION}`
    t.true(answer.remark?.startsWith(told), answer.remark)
    await connection.closed
  }
  t.is(master.replicas.all.length, 0)
})

test('a slave that is pointed at the port of other clients is told so', async (t) => {
  const server = await startServer(t)
  await t.throwsAsync(startSlave(t, server.address('remoting')), {
    message: /takes other clients than slaves: name the replication\.port of the master$/,
  })
})

test('a second slave of one id takes the place of the first', async (t) => {
  const master = await startMaster(t, ASYNC)
  const hello = writeFields(HELLO, {
    ...{ version: WIRE_VERSION, clusterName: 'DefaultCluster', brokerName: 'broker-a' },
    ...{ brokerId: 1, logId: master.store.replication.logId, epoch: 1, end: 0 },
  })
  const [host, port] = master.address.split(':')
  const target = { host: host!, port: Number(port), clock: systemClock }
  const [first, second] = [await dial(target), await dial(target)]
  t.teardown(() => second.close())
  const fetch = writeFields(FETCH, { from: 0, synced: 0, waitMs: 0 })
  for (const connection of [first, second]) {
    await connection.request(REPLICATION_REQUEST.hello, { fields: hello })
    await connection.request(REPLICATION_REQUEST.fetch, { fields: fetch })
  }
  await first.closed
  t.is(master.replicas.all.length, 1)
})

test('bytes of a stranger close its own connection', async (t) => {
  const master = await startMaster(t, ASYNC)
  const slave = await startSlave(t, master.address)
  const port = Number(master.address.split(':')[1])
  const stranger = connect({ host: '127.0.0.1', port })
  stranger.on('error', () => {})
  stranger.write('GET / HTTP/1.1\r\n\r\n')
  await new Promise((resolve) => stranger.once('close', resolve))
  await master.store.append(one('a'))
  await slave.caughtUp(master)
  t.is(master.replicas.all.length, 1)
})
