import test, { type ExecutionContext } from 'ava'
import { DispatchBudget } from '../../../src/broker/publish/dispatch-budget.ts'
import { type DueHandler, DueTimer } from '../../../src/broker/publish/due-timer.ts'
import { BrokerError } from '../../../src/errors.ts'
import { NO_HOST } from '../../../src/model/host.ts'
import { queueOffset } from '../../../src/model/positions.ts'
import { PROPERTY } from '../../../src/model/properties.ts'
import { RecordView, recordsOf } from '../../../src/model/record.ts'
import { openStoreIn } from '../../../src/store/open.ts'
import type { DueEntry, MessageStore } from '../../../src/store/store.ts'
import { newMessage, pullRequest, startBroker } from '../../support/broker.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { LogLines } from '../../support/log-lines.ts'
import { Random } from '../../support/random.ts'
import { MemoryPlace } from '../../support/simulation/memory-key-value.ts'
import { SimulatedDisk } from '../../support/simulation/simulated-disk.ts'
import { checkRetention, load, openSmall, SEGMENT_BYTES } from '../../support/store/small-store.ts'
import { draft } from '../../support/store/store-contents.ts'
import { tempDir } from '../../support/temp-dir.ts'

const HOUR_MS = 3_600_000

async function timerOf(t: ExecutionContext, handlers: Record<string, DueHandler>) {
  const random = new Random(1)
  const clock = new FakeClock()
  const lines = new LogLines()
  const store = await openStoreIn({
    logPath: '/log',
    viewsPath: '/views',
    disk: new SimulatedDisk({ random, inPool: (fn) => void setImmediate(fn) }),
    place: new MemoryPlace({ random }),
    clock,
    log: lines,
    storeHost: NO_HOST,
    closed() {},
    logOptions: { reserveBytes: 0 },
  })
  const timer = new DueTimer(store, clock, lines, new DispatchBudget())
  for (const [kind, handler] of Object.entries(handlers)) timer.handle(kind, handler)
  t.teardown(async () => {
    await timer.close()
    await store.close()
  })
  const after = async (ms: number): Promise<void> => {
    timer.arm()
    clock.advance(ms)
    for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve))
  }
  return { store, clock, lines, after }
}

const park = (store: MessageStore, dueMs: number, body: string, dueKind?: string) =>
  store.append({ messages: [draft('orders', body, { dueMs, dueKind })] })

async function bodiesIn(store: MessageStore, topic: string): Promise<string[]> {
  const { records } = await store.read({
    topic,
    queueId: 0,
    offset: queueOffset(0),
    maxMessages: 100,
    maxBytes: 100_000,
    hashes: undefined,
  })
  return [...recordsOf(records)].map((record) => record.body.toString())
}

const movedTo =
  (topic: string): DueHandler =>
  (record) => ({ message: draft(topic, record.body.toString()) })

test('each kind of what is due goes to its own handler', async (t) => {
  const { store, clock, after } = await timerOf(t, {
    '': movedTo('delayed'),
    check: movedTo('checked'),
    expiry: () => ({ message: undefined }),
  })
  await park(store, clock.now() + 1000, 'a message')
  await park(store, clock.now() + 1000, 'a half message', 'check')
  await park(store, clock.now() + 1000, 'an old message', 'expiry')
  await after(1000)
  t.deepEqual(await bodiesIn(store, 'delayed'), ['a message'])
  t.deepEqual(await bodiesIn(store, 'checked'), ['a half message'])
  t.is(store.status().pendingDue, 0)
})

test('a handler may park again what is due', async (t) => {
  let checks = 0
  const { store, clock, after } = await timerOf(t, {
    check: (record) => {
      checks++
      const dueMs = clock.now() + 1000
      return { message: draft('orders', record.body.toString(), { dueMs, dueKind: 'check' }) }
    },
  })
  await park(store, clock.now() + 1000, 'a half message', 'check')
  for (let i = 1; i <= 3; i++) {
    await after(1000)
    t.is(checks, i)
    t.is(store.status().pendingDue, 1)
  }
})

test('what no handler is for waits for another hour, and holds nothing else up', async (t) => {
  const known: Record<string, DueHandler> = { '': movedTo('delayed') }
  const { store, clock, lines, after } = await timerOf(t, known)
  await park(store, clock.now() + 1000, 'of a newer version', 'unheard')
  await park(store, clock.now() + 1001, 'a message')
  await after(2000)
  t.deepEqual(await bodiesIn(store, 'delayed'), ['a message'])
  t.is(store.status().pendingDue, 1)
  const [entry] = store.due(Number.MAX_SAFE_INTEGER, 1)
  t.true(entry!.dueMs > clock.now() + HOUR_MS - 2000)
  const record = await store.readAt(entry!.position)
  const view = new RecordView(record!)
  t.is(view.property(PROPERTY.dueKind), 'unheard')
  t.is(view.property(PROPERTY.realTopic), 'orders')
  t.deepEqual(lines.events(), ['delays.unknown'])
})

test('what a handler throws for waits for another hour, and holds nothing else up', async (t) => {
  const { store, clock, lines, after } = await timerOf(t, {
    '': movedTo('delayed'),
    broken: () => {
      throw new Error('a fault')
    },
  })
  await park(store, clock.now() + 1000, 'at fault', 'broken')
  await park(store, clock.now() + 1001, 'a message')
  await after(2000)
  t.deepEqual(await bodiesIn(store, 'delayed'), ['a message'])
  t.deepEqual(lines.events(), ['delays.failed'])
  await after(HOUR_MS - 2000)
  t.deepEqual(lines.events(), ['delays.failed'])
  await after(2000)
  t.deepEqual(lines.events(), ['delays.failed', 'delays.failed'])
  t.is(store.status().pendingDue, 1)
})

test('one that waits in rounds is put off by whole periods when its handler throws', async (t) => {
  const periodMs = 30_000
  const { store, clock, after } = await timerOf(t, {
    broken: () => {
      throw new Error('a fault')
    },
  })
  const dueMs = clock.now() + 1000
  const rounds = { periodMs, round: 0 }
  await store.append({ messages: [draft('orders', 'half', { dueMs, dueKind: 'broken', rounds })] })
  const [{ position }] = store.due(dueMs, 1) as [DueEntry]
  await after(periodMs * 2)
  t.deepEqual(store.due(Number.MAX_SAFE_INTEGER, 9), [{ dueMs: dueMs + 2 * periodMs, position }])
  t.deepEqual((await store.parked(position))?.entry, { dueMs: dueMs + 2 * periodMs, position })
})

test('a message that the log refuses holds up nothing that is due with it', async (t) => {
  const { store, clock, lines, after } = await timerOf(t, {
    '': (record) => {
      const body = record.body.toString()
      const properties = Buffer.alloc(body === 'too much' ? 70_000 : 0, 'x')
      return { message: draft('delayed', body, { properties }) }
    },
  })
  for (const body of ['one', 'too much', 'three']) await park(store, clock.now() + 1000, body)
  await after(1000)
  t.deepEqual(await bodiesIn(store, 'delayed'), ['one', 'three'])
  t.deepEqual(lines.events(), ['delays.failed'])
  t.is(store.nextDueMs(), clock.now() + HOUR_MS)
})

test('what cannot be told that it is done is done all the same, and so are the others', async (t) => {
  const told: string[] = []
  const { store, clock, lines, after } = await timerOf(t, {
    '': (record) => {
      const body = record.body.toString()
      const settled = (): void => {
        if (body === 'mute') throw new Error('a fault')
        told.push(body)
      }
      return { message: draft('delayed', body), settled }
    },
  })
  for (const body of ['one', 'mute', 'three']) await park(store, clock.now() + 1000, body)
  await after(1000)
  await after(2000)
  t.deepEqual(await bodiesIn(store, 'delayed'), ['one', 'mute', 'three'])
  t.deepEqual(told, ['one', 'three'])
  t.deepEqual(lines.events(), ['delays.failed'])
})

test('a client cannot say what its delayed message waits for', async (t) => {
  const { broker, clock } = await startBroker(t)
  const properties = { DELAY: '1', [PROPERTY.dueKind]: 'check' }
  const message = newMessage('orders', { queueId: 0, body: 'a message', properties })
  await broker.publish([{ ...message, ownProperties: false }])
  const pulling = broker.pull(pullRequest('orders', { waitMs: HOUR_MS }))
  clock.advance(1000)
  const [record] = [...recordsOf((await pulling).records)]
  t.is(record!.body.toString(), 'a message')
  t.is(record!.property(PROPERTY.dueKind), undefined)
})

test('what retention moved has one end, whichever place it is named by', async (t) => {
  const clock = new FakeClock()
  const store = await openSmall(t, await tempDir(t), clock, { retentionBytes: 2 * SEGMENT_BYTES })
  const dueMs = clock.now() + 24 * HOUR_MS
  await park(store, dueMs, 'a message')
  const [before] = store.due(dueMs, 1)
  await load(store, 'orders', 1024)
  await checkRetention(clock, () => store.due(dueMs, 1)[0]?.position !== before!.position)
  const [after] = store.due(dueMs, 1)
  const timer = new DueTimer(store, clock, new LogLines(), new DispatchBudget())
  const outcomes = await Promise.all([timer.withdraw(before!), timer.withdraw(after!)])
  t.deepEqual(outcomes, ['withdrawn', 'gone'])
})

/** Appends that the test ends itself, once they are through. */
function heldAppends(store: MessageStore): { held: (() => void)[]; failing: { code?: 'BUSY' } } {
  const append = store.append.bind(store)
  const held: (() => void)[] = []
  const failing: { code?: 'BUSY' } = {}
  store.append = async (group) => {
    if (group.fired === undefined) return append(group)
    if (failing.code !== undefined) throw new BrokerError(failing.code, 'not now')
    const appended = await append(group)
    await new Promise<void>((go) => held.push(go))
    return appended
  }
  return { held, failing }
}

test('while due messages are synced the next are read and appended, a few appends ahead', async (t) => {
  const { store, clock, after } = await timerOf(t, { '': movedTo('delayed') })
  const { held } = heldAppends(store)
  const count = 20
  const start = clock.now()
  for (let i = 1; i <= count; i++) await park(store, start + i * 1000, `${i}`)
  for (let i = 0; i < count; i++) await after(1000)
  t.is(held.length, 16)
  for (const go of held.splice(0)) go()
  await after(0)
  t.deepEqual(
    await bodiesIn(store, 'delayed'),
    Array.from({ length: count }, (_, i) => `${i + 1}`),
  )
  for (const go of held.splice(0)) go()
  await after(0)
  t.is(store.status().pendingDue, 0)
})

test('what is due behind an append that was refused does not overtake it', async (t) => {
  const { store, clock, after } = await timerOf(t, { '': movedTo('delayed') })
  const { held, failing } = heldAppends(store)
  const start = clock.now()
  for (let i = 1; i <= 3; i++) await park(store, start + i * 1000, `${i}`)
  await after(1000)
  failing.code = 'BUSY'
  await after(1000)
  delete failing.code
  await after(1000)
  t.deepEqual(await bodiesIn(store, 'delayed'), ['1'])
  for (let i = 0; i < 3; i++) {
    for (const go of held.splice(0)) go()
    await after(100)
  }
  t.deepEqual(await bodiesIn(store, 'delayed'), ['1', '2', '3'])
  t.is(store.status().pendingDue, 0)
})

test('of the records that come due at once few are read at a time', async (t) => {
  const fired: string[] = []
  const { store, clock, after } = await timerOf(t, {
    '': (record) => {
      fired.push(record.body.toString())
      return { message: undefined }
    },
  })
  const dueMs = clock.now() + 1000
  const count = 200
  for (let i = 0; i < count; i++) await park(store, dueMs, `${i}`)
  const readAt = store.readAt.bind(store)
  let reading = 0
  let most = 0
  store.readAt = async (position, bytesMax) => {
    most = Math.max(most, ++reading)
    await new Promise((resolve) => setImmediate(resolve))
    reading--
    return readAt(position, bytesMax)
  }
  await after(1000)
  t.is(fired.length, count)
  t.true(most <= 16, `${most} at a time`)
})
