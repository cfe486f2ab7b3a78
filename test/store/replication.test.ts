import test, { type ExecutionContext } from 'ava'
import { openBroker } from '../../src/broker/broker.ts'
import { BrokerError } from '../../src/errors.ts'
import { silentLogger } from '../../src/log.ts'
import { NO_HOST } from '../../src/model/host.ts'
import { logPosition, queueOffset } from '../../src/model/positions.ts'
import { RecordView } from '../../src/model/record.ts'
import { openStoreIn } from '../../src/store/open.ts'
import type { MessageStore } from '../../src/store/store.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { Random } from '../support/random.ts'
import { MemoryPlace } from '../support/simulation/memory-key-value.ts'
import { SimulatedDisk } from '../support/simulation/simulated-disk.ts'
import { contentsOf, draft, fill } from '../support/store/store-contents.ts'

const HOUR_MS = 3_600_000

interface Opened {
  readonly store: MessageStore
  readonly clock: FakeClock
  readonly disk: SimulatedDisk
}

async function opened(t: ExecutionContext, master?: MessageStore): Promise<Opened> {
  const random = new Random(1)
  const inPool = (fn: () => void): void => void setImmediate(fn)
  const [disk, place, clock] = [
    new SimulatedDisk({ random, inPool }),
    new MemoryPlace({ random, inPool }),
    new FakeClock(),
  ]
  const store = await openStoreIn({
    logPath: '/log',
    viewsPath: '/views',
    disk,
    place,
    clock,
    log: silentLogger,
    storeHost: NO_HOST,
    closed() {},
    segmentBytes: 1 << 20,
    logOptions: { reserveBytes: 0 },
    ...(master !== undefined && {
      follows: { logId: master.replication.logId, start: master.status().logStart },
    }),
  })
  t.teardown(() => store.close())
  return { store, clock, disk }
}

/** Until the replica has what the master has by now. */
async function catchUp(master: MessageStore, replica: MessageStore): Promise<void> {
  const feed = master.replication.feed(replica.status().logEnd)
  while (replica.status().logEnd < master.status().logEnd) {
    await replica.replication.take((await feed.next())!)
  }
  feed.close()
}

const codeOf = async (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'done',
    (error: unknown) => (error instanceof BrokerError ? error.code : String(error)),
  )

test('a replica shows what its master shows', async (t) => {
  const { store: master, clock } = await opened(t)
  await fill(master, { messages: 500, nowMs: clock.now() })
  const { store: replica } = await opened(t, master)
  await catchUp(master, replica)
  t.deepEqual(await contentsOf(replica), await contentsOf(master))
})

test('a passive store appends nothing by itself, and refuses what would append', async (t) => {
  const { store: master, clock } = await opened(t)
  await fill(master, { messages: 100, nowMs: clock.now() })
  const replica = await opened(t, master)
  await catchUp(master, replica.store)
  const { logEnd } = replica.store.status()
  for (let hours = 0; hours < 100; hours++) {
    replica.clock.advance(HOUR_MS)
    await new Promise((resolve) => setImmediate(resolve))
  }
  const { store } = replica
  t.is(await codeOf(store.append({ messages: [draft('A', 'no')] })), 'READ_ONLY')
  t.is(await codeOf(store.bindLightQueue('other', true)), 'READ_ONLY')
  t.is(await codeOf(store.dropQueues('A')), 'READ_ONLY')
  t.is(store.status().logEnd, logEnd)
  t.true(store.status().isPassive)
  t.false(store.status().writable)
  const open = (): unknown => openBroker({ store, clock: replica.clock, log: silentLogger })
  t.throws(open, { instanceOf: BrokerError, message: /promote it/ })
})

test('a promoted replica goes on: offsets, what is due, and its own replicas', async (t) => {
  const { store: master, clock } = await opened(t)
  await fill(master, { messages: 100, nowMs: clock.now() })
  const { store: replica } = await opened(t, master)
  await catchUp(master, replica)
  const { replication } = replica
  const { maxOffset } = replica.range('A', 0)
  const { pendingDue } = replica.status()
  await replication.promote()
  t.true(replica.status().writable)
  t.is(replication.epoch, master.replication.epoch + 1)
  const [appended] = await replica.append({ messages: [draft('A', 'next')] })
  t.is(appended!.queueOffset, maxOffset)
  const due = replica.due(Number.MAX_SAFE_INTEGER, 3)
  await replica.append({ messages: [], fired: due })
  t.is(replica.status().pendingDue, pendingDue - 3)
  const { store: other } = await opened(t, master)
  await catchUp(master, other)
  await catchUp(replica, other)
  t.deepEqual(await contentsOf(other), await contentsOf(replica))
  const { logEnd } = master.status()
  await master.append({ messages: [draft('A', 'of the old master')] })
  const stale = await master.replication.feed(logEnd).next()
  t.is(await codeOf(other.replication.take(stale!)), 'ABORTED')
})

test('a promotion to an epoch that was there already is refused, and the replica follows on', async (t) => {
  const { store: master, clock } = await opened(t)
  await fill(master, { messages: 10, nowMs: clock.now() })
  const { store: replica } = await opened(t, master)
  await catchUp(master, replica)
  t.is(await codeOf(replica.replication.promote(master.replication.epoch)), 'ARGUMENT_INVALID')
  await master.append({ messages: [draft('A', 'one more')] })
  await catchUp(master, replica)
  t.deepEqual(await contentsOf(replica), await contentsOf(master))
  t.is(await codeOf(master.replication.promote()), 'ARGUMENT_INVALID')
})

test('to promote a master changes no offset of what is under way', async (t) => {
  const { store: master } = await opened(t)
  const before = master.append({ messages: [draft('A', 'one')] })
  t.is(await codeOf(master.replication.promote()), 'ARGUMENT_INVALID')
  const after = master.append({ messages: [draft('A', 'two')] })
  t.is((await before)[0]!.queueOffset, queueOffset(0))
  t.is((await after)[0]!.queueOffset, queueOffset(1))
})

test('of two promotions at once one is refused', async (t) => {
  const { store: master } = await opened(t)
  const { store: replica } = await opened(t, master)
  const promotions = [replica.replication.promote(), replica.replication.promote()]
  t.deepEqual(await Promise.all(promotions.map(codeOf)), ['done', 'ARGUMENT_INVALID'])
  const [appended] = await replica.append({ messages: [draft('A', 'one')] })
  t.is(appended!.queueOffset, queueOffset(0))
})

test('a replica starts where its master does once it has what the master had then', async (t) => {
  const { store: master } = await opened(t)
  const [first] = await master.append({ messages: [draft('A', 'one')] })
  const { store: replica } = await opened(t, master)
  const feed = master.replication.feed(replica.status().logEnd)
  const early = (await feed.next())!
  await master.append({ messages: [draft('A', 'two')] })
  const logStart = logPosition(first!.position + 1)
  await replica.replication.take({ ...early, logStart, logEnd: logPosition(early.to + 1) })
  await rested()
  t.deepEqual(replica.range('A', 0).minOffset, queueOffset(0))
  await replica.replication.take({ ...(await feed.next())!, logStart })
  await rested()
  t.deepEqual(replica.range('A', 0).minOffset, queueOffset(1))
})

async function rested(): Promise<void> {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve))
}

test('frames are for passive stores alone', async (t) => {
  const { store: master } = await opened(t)
  await master.append({ messages: [draft('A', 'one')] })
  const batch = await master.replication.feed(master.status().logStart).next()
  t.is(await codeOf(master.replication.take(batch!)), 'NOT_SUPPORTED')
})

test('a message that waits for a replica is not readable, and a close answers it', async (t) => {
  const { store: master } = await opened(t)
  await master.append({ messages: [draft('A', 'one')] })
  const hold = master.replication.hold()
  const first = master.append({ messages: [draft('A', 'two')] })
  const { store: replica } = await opened(t, master)
  const feed = master.replication.feed(replica.status().logEnd)
  let end = replica.status().logEnd
  while (replica.range('A', 0).maxOffset < 2) {
    end = await replica.replication.take((await feed.next())!)
  }
  t.deepEqual(master.range('A', 0).maxOffset, queueOffset(1))
  hold.confirm(end)
  t.deepEqual((await first)[0]!.queueOffset, queueOffset(1))
  const last = master.append({ messages: [draft('A', 'three')] })
  await master.close()
  t.is(await codeOf(last), 'CLOSED')
  const record = await replica.readAt((await first)[0]!.position)
  t.is(new RecordView(record!).body.toString(), 'two')
})
