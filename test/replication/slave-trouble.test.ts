// What a slave, or a master that was replaced, meets and tells of.
import { closeSync, openSync, readdirSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { connect } from '../../src/client/index.ts'
import { BrokerError } from '../../src/errors.ts'
import { queueOffset } from '../../src/model/positions.ts'
import { whyAnew } from '../../src/replication/opening.ts'
import { EPOCHS_AHEAD } from '../../src/replication/promotion.ts'
import type { DamagedRange } from '../../src/store/log/commit-log.ts'
import type { MessageStore } from '../../src/store/store.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { LogLines } from '../support/log-lines.ts'
import { overridden } from '../support/overridden.ts'
import { freePort, startServer } from '../support/server.ts'
import { sameBytes, startMaster, startSlave } from '../support/store/master-and-slave.ts'
import { draft } from '../support/store/store-contents.ts'
import { eventually } from '../support/waiting.ts'

const ASYNC = { replicas: { isSync: false } }
const isMended = (evt: string): boolean => evt === 'replication.mended'
const one = (text: string) => ({ messages: [draft('A', text)] })

test('a slave without room says so, its master goes on by its mode, and it heals', async (t) => {
  let isFull = false
  let refused = 0
  const reason = 'the disk is full; free some space, 70 MiB are enough; writing goes on by itself'
  const master = await startMaster(t, { replicas: { slaveTimeoutMs: 200 } })
  const slave = await startSlave(t, master.address, {
    into: (own) =>
      overridden(own, {
        take: (batch) => {
          if (!isFull) return own.take(batch)
          refused++
          return Promise.reject(new BrokerError('READ_ONLY', reason))
        },
      }),
  })
  // Its time is short, and may be over on a busy machine.
  await master.store.append(one('of both')).catch(() => {})
  await slave.caughtUp(master)
  isFull = true
  // A SYNC_MASTER says that it has it alone.
  const error = await t.throwsAsync(master.store.append(one('of the master')), {
    instanceOf: BrokerError,
  })
  t.true(error.code === 'NO_REPLICA' || error.code === 'NOT_REPLICATED', error.code)
  t.is(await eventually(async () => slave.slave.state.standing), reason)
  // It says so once, however often it tries, and stands all the time.
  await eventually(async () => refused >= 2)
  t.is(slave.slave.state.standing, reason)
  t.is(slave.log.lines.filter(({ evt }) => evt === 'replication.standing').length, 1)
  isFull = false
  await slave.caughtUp(master)
  t.true(await sameBytes(master.store, slave.store))
  await eventually(async () => slave.slave.state.standing === undefined)
})

test('what the disk of a slave lost of the log is mended from its master', async (t) => {
  const master = await startMaster(t, ASYNC)
  for (let i = 0; i < 20; i++) await master.store.append(one(`message ${i}`))
  const before = await startSlave(t, master.address)
  await before.caughtUp(master)
  const { directory } = before
  await before.close()
  const end = master.store.replication.syncedEnd
  const segment = join(directory, 'log', '0'.repeat(20))
  const file = openSync(segment, 'r+')
  for (const at of [end * 0.3, end * 0.6])
    writeSync(file, Buffer.alloc(64, 7), 0, 64, Math.floor(at))
  closeSync(file)
  // As they are built from what is left.
  rmSync(join(directory, 'views'), { recursive: true })
  const slave = await startSlave(t, master.address, { directory })
  t.true(slave.log.events().includes('log.damage'))
  await eventually(async () => slave.log.events().filter(isMended).length === 2)
  t.deepEqual(slave.store.status().damage, [])
  await eventually(() => sameBytes(master.store, slave.store))
  // Its readers have all of it again.
  const bytesOf = async (store: MessageStore): Promise<Buffer> => {
    const most = { maxMessages: 32, maxBytes: 100_000, hashes: undefined }
    const read = await store.read({ topic: 'A', queueId: 0, offset: queueOffset(0), ...most })
    return read.records
  }
  const all = await bytesOf(master.store)
  await eventually(async () => all.equals(await bytesOf(slave.store)))
  await master.store.append(one('after'))
  await slave.caughtUp(master)
})

const SEGMENT_BYTES = 256 * 1024
/** Many segments for few bytes. */
const SMALL = { segmentBytes: SEGMENT_BYTES, logOptions: { chunkBytes: SEGMENT_BYTES / 4 } }

function segmentsOf(directory: string, which: string): readonly string[] {
  const names = readdirSync(join(directory, 'log'))
    .filter((name) => /^\d{20}$/.test(name))
    .sort()
  const [from, to] = { first: [0, 1], second: [1, 2], last: [-1, undefined] }[which] ?? [1, 3]
  return names.slice(from, to)
}

for (const which of ['first', 'second', 'two in the middle', 'last']) {
  test(`a segment that a slave lost comes from its master: ${which}`, async (t) => {
    const master = await startMaster(t, { ...ASYNC, store: SMALL })
    const body = 'x'.repeat(SEGMENT_BYTES / 8)
    for (let i = 0; i < 40; i++) await master.store.append(one(`${i} ${body}`))
    const before = await startSlave(t, master.address, { store: SMALL })
    await before.caughtUp(master)
    const { directory } = before
    await before.close()
    for (const name of segmentsOf(directory, which)) rmSync(join(directory, 'log', name))
    const slave = await startSlave(t, master.address, { directory, store: SMALL })
    const events = slave.log.events()
    t.true(events.includes(which === 'last' ? 'log.damage' : 'log.lost'), String(events))
    await eventually(async () => slave.log.events().includes('replication.mended'))
    t.deepEqual(slave.store.status().damage, [])
    await eventually(() => sameBytes(master.store, slave.store))
    await master.store.append(one('after'))
    await slave.caughtUp(master)
    await slave.close()
    // And so it stays.
    const again = await startSlave(t, master.address, { directory, store: SMALL })
    t.deepEqual(again.store.status().damage, [])
    await eventually(() => sameBytes(master.store, again.store))
    t.is(again.store.replication.start, master.store.replication.start)
  })
}

test('a master tells of a segment that is missing between others', async (t) => {
  const before = await startMaster(t, { ...ASYNC, store: SMALL })
  const body = 'x'.repeat(SEGMENT_BYTES / 8)
  for (let i = 0; i < 40; i++) await before.store.append(one(`${i} ${body}`))
  const { directory } = before
  await before.close()
  const [name = ''] = segmentsOf(directory, 'second')
  rmSync(join(directory, 'log', name))
  const master = await startMaster(t, { ...ASYNC, store: SMALL, directory })
  const [{ from, segment }] = master.store.status().damage as [DamagedRange]
  t.is(segment, name)
  t.is(Number(from), Number(name))
  t.true(master.log.events().includes('log.lost'))
})

test('an empty slave joins a SYNC_MASTER at work, and another takes its place when it is lost', async (t) => {
  const master = await startMaster(t)
  let acked = 0
  let isOver = false
  const sending = (async () => {
    for (; !isOver; acked++) await master.store.append(one('x'.repeat(1000)))
  })()
  const first = await startSlave(t, master.address)
  await eventually(async () => acked > 20)
  await first.close()
  const before = acked
  const second = await startSlave(t, master.address)
  await eventually(async () => acked > before + 20)
  isOver = true
  await sending
  await second.caughtUp(master)
  t.true(await sameBytes(master.store, second.store))
  t.is(master.replicas.all.length, 1)
  t.is(Number(second.store.range('A', 0).maxOffset), acked)
})

test('a slave of a slave is told whose slave that is', async (t) => {
  const master = await startServer(t, { config: { replication: { enabled: true, port: 0 } } })
  const address = master.address('replication')
  const slave = await startServer(t, {
    config: { broker: { role: 'SLAVE' }, replication: { enabled: true, port: 0, master: address } },
  })
  const following = { master: slave.address('replication') }
  const config = { broker: { role: 'SLAVE' as const, id: 2 }, replication: following }
  const error = await t.throwsAsync(startServer(t, { config }))
  t.true(error.message.includes(`this broker is a slave itself: follow its master ${address}`))
})

test('a former master that comes back in its old role is told, and acknowledges nothing', async (t) => {
  const log = new LogLines()
  const replication = { enabled: true, port: 0 }
  const master = await startServer(t, { config: { replication } })
  const following = { master: master.address('replication') }
  const slave = await startServer(t, {
    config: { broker: { role: 'SLAVE' }, replication: following },
    log,
  })
  const mq = await connect({ broker: master.address('remoting') })
  t.teardown(() => mq.close({ deadlineMs: 0 }))
  await mq.send({ topic: 'T', body: 'a' })
  await eventually(async () => log.events().includes('replication.following'))
  const atSlave = await connect({ broker: slave.address('remoting') })
  t.teardown(() => atSlave.close({ deadlineMs: 0 }))
  const { port } = master.server.address('replication')
  await master.server.close()
  await eventually(async () => {
    try {
      return await atSlave.admin.promote(slave.address('remoting'))
    } catch {
      return undefined
    }
  })
  const heard = new LogLines()
  const again = await startServer(t, {
    config: { dataDir: master.config.dataDir, replication: { enabled: true, port } },
    log: heard,
  })
  await eventually(async () => heard.events().includes('replication.deposed'))
  await eventually(async () => log.events().includes('replication.former_master'))
  const atOld = await connect({ broker: again.address('remoting'), timeoutMs: 1_000 })
  t.teardown(() => atOld.close({ deadlineMs: 0 }))
  await t.throwsAsync(atOld.send({ topic: 'T', body: 'b' }), { message: /was replaced/ })
})

test('a slave that retention overtook while it ran is over, and says why', async (t) => {
  const clock = new FakeClock()
  const small = { clock, segmentBytes: 1024 * 1024, retentionBytes: 16 * 1024 * 1024 }
  const master = await startMaster(t, { ...ASYNC, store: small })
  await master.store.append(one('a'))
  let why: string | undefined
  const slave = await startSlave(t, master.address, {
    isOver: (answer) => {
      why = whyAnew(slave.store.replication, answer)
      return why !== undefined
    },
  })
  await slave.caughtUp(master)
  const port = Number(master.address.split(':')[1])
  await master.deafen()
  await eventually(async () => {
    await master.store.append(one('x'.repeat(512 * 1024)))
    clock.advance(60_000)
    return master.store.replication.start > slave.store.replication.syncedEnd
  })
  await master.close()
  await startMaster(t, { ...ASYNC, directory: master.directory, port })
  await eventually(async () => why)
  t.regex(why!, /^it ends at \d+, and its master's log starts at \d+ by now$/)
  t.is(slave.slave.state.standing, undefined)
})

test('a former master that runs as a slave is cut when its successor comes, and follows', async (t) => {
  const old = await startMaster(t, ASYNC)
  await old.store.append(one('of both'))
  const copy = await startSlave(t, old.address)
  await copy.caughtUp(old)
  await copy.slave.close()
  const { replication } = copy.store
  await replication.promote(replication.epoch + EPOCHS_AHEAD)
  await copy.store.append(one('of the new master'))
  await old.store.append(one('of the old master alone'))
  await Promise.all([copy.close(), old.close()])
  const port = await freePort()
  const log = new LogLines()
  const former = await startServer(t, {
    config: {
      ...{ dataDir: old.directory, broker: { role: 'SLAVE' } },
      replication: { master: `127.0.0.1:${port}` },
    },
    log,
  })
  await eventually(async () => log.events().includes('replication.disconnected'))
  const successor = await startServer(t, {
    config: { dataDir: copy.directory, replication: { enabled: true, port } },
  })
  await eventually(async () => log.events().includes('replication.following'))
  t.true(log.events().includes('replication.anew'))
  t.true(log.events().includes('log.tail_cut'))
  t.false(log.events().includes('replication.standing'))
  const mq = await connect({ broker: former.address('remoting') })
  t.teardown(() => mq.close({ deadlineMs: 0 }))
  const endOf = async (address: string): Promise<number | undefined> =>
    (await mq.admin.brokerState(address)).logEnd
  await eventually(async () => {
    const ends = [former, successor].map((one) => endOf(one.address('remoting')))
    const [a, b] = await Promise.all(ends)
    return a === b
  })
})
