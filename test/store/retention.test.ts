import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { BrokerError } from '../../src/errors.ts'
import { lightQueueTopic, SCHEDULE_TOPIC } from '../../src/model/names.ts'
import { logPosition, queueOffset } from '../../src/model/positions.ts'
import { encodeProperties, PROPERTY } from '../../src/model/properties.ts'
import { RecordView, recordsOf } from '../../src/model/record.ts'
import type { Disk } from '../../src/store/disk/disk.ts'
import { nodeDisk } from '../../src/store/disk/node-disk.ts'
import type { AppendGroup, MessageStore } from '../../src/store/store.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { LogLines } from '../support/log-lines.ts'
import { Random } from '../support/random.ts'
import { MemoryPlace } from '../support/simulation/memory-key-value.ts'
import {
  checkRetention,
  DAY_MS,
  HOUR_MS,
  KIB,
  load,
  openSmall,
  pass,
  SEGMENT_BYTES,
} from '../support/store/small-store.ts'
import { draft } from '../support/store/store-contents.ts'
import { tempDir } from '../support/temp-dir.ts'
import { endSlicesAtOnce } from '../support/turns.ts'
import { eventually } from '../support/waiting.ts'

const firstBody = async (store: MessageStore, topic: string): Promise<string> => {
  const { minOffset } = store.range(topic, 0)
  const request = {
    topic,
    queueId: 0,
    offset: minOffset,
    maxMessages: 1,
    maxBytes: 4096,
    hashes: undefined,
  }
  const [record] = [...recordsOf((await store.read(request)).records)]
  return record!.body.toString().split(' ')[0]!
}

test('the log is cut to its size from the old end, and the offsets say so', async (t) => {
  const clock = new FakeClock()
  const store = await openSmall(t, await tempDir(t), clock, { retentionBytes: 2 * SEGMENT_BYTES })
  await load(store, 'T', 1024)
  t.is(store.range('T', 0).minOffset, queueOffset(0))
  const size = (): number => store.status().logEnd - store.status().logStart
  await checkRetention(clock, () => size() <= 2 * SEGMENT_BYTES)
  const { minOffset, maxOffset } = store.range('T', 0)
  t.true(minOffset > 500 && minOffset < 1024)
  t.is(maxOffset, queueOffset(1024))
  t.is(await firstBody(store, 'T'), String(minOffset))
  const moved = await store.read({
    topic: 'T',
    queueId: 0,
    offset: queueOffset(0),
    maxMessages: 1,
    maxBytes: 1,
    hashes: undefined,
  })
  t.is(moved.status, 'moved')
  t.is(moved.nextOffset, minOffset)
})

test('what is older than its time goes, what is younger stays', async (t) => {
  const clock = new FakeClock()
  const store = await openSmall(t, await tempDir(t), clock, { retentionMs: DAY_MS })
  await load(store, 'old', 600)
  clock.advance(2 * DAY_MS)
  await load(store, 'young', 600)
  await checkRetention(clock, () => store.range('old', 0).minOffset > 400)
  t.is(store.range('young', 0).minOffset, queueOffset(0))
  t.is(await firstBody(store, 'young'), '0')
})

test('a clock that is ahead for a moment takes nothing, and what is old goes when it is right again', async (t) => {
  const clock = new FakeClock()
  const directory = await tempDir(t)
  const before = await openSmall(t, directory, clock, { retentionMs: DAY_MS })
  await load(before, 'old', 600)
  const { logStart } = before.status()
  clock.jump(365 * DAY_MS)
  await load(before, 'ahead', 600)
  for (let i = 0; i < 50; i++) await clock.advanceAsync(60_000)
  t.is(before.status().logStart, logStart)
  await before.close()
  clock.jump(-365 * DAY_MS)
  const store = await openSmall(t, directory, clock, { retentionMs: DAY_MS })
  await load(store, 'now', 600)
  clock.advance(DAY_MS - 45 * 60_000)
  await clock.advanceAsync(0)
  await checkRetention(clock, () => store.range('old', 0).minOffset > 400)
  t.is(store.range('ahead', 0).minOffset, queueOffset(0))
  clock.advance(2 * HOUR_MS)
  await clock.advanceAsync(0)
  await checkRetention(clock, () => store.range('ahead', 0).minOffset > 400)
})

test('what was stored before the clock was set is as old as the first that came after', async (t) => {
  const clock = new FakeClock(60_000)
  const store = await openSmall(t, await tempDir(t), clock, { retentionMs: DAY_MS })
  await load(store, 'unset', 600)
  clock.jump(1_700_000_000_000)
  await load(store, 'set', 600)
  for (let i = 0; i < 120; i++) await clock.advanceAsync(60_000)
  t.is(store.range('unset', 0).minOffset, queueOffset(0))
  clock.advance(DAY_MS)
  await clock.advanceAsync(0)
  await checkRetention(clock, () => store.range('unset', 0).minOffset > 400)
})

test('with the views gone too, everything alive is rebuilt from what is left', async (t) => {
  const clock = new FakeClock()
  const directory = await tempDir(t)
  const before = await openSmall(t, directory, clock, { retentionBytes: 2 * SEGMENT_BYTES })
  const dueMs = clock.now() + DAY_MS
  const fact = (key: string, value: string | null) => ({
    kind: 'k',
    key,
    value: value === null ? null : Buffer.from(value),
  })
  await before.bindLightQueue('T', true)
  await before.bindLightQueue('gone', true)
  await before.append({
    messages: [
      draft('quiet', 'a'),
      draft('quiet', 'b'),
      draft('T', 'later', { dueMs }),
      draft('T', 'soon', { dueMs: dueMs - 1 }),
    ],
    facts: [fact('kept', '1'), fact('changed', '1'), fact('forgotten', '1')],
  })
  await load(before, 'T', 300)
  await before.unbindLightQueue('gone', true)
  const [soon] = before.due(dueMs - 1, 1)
  await before.append({
    messages: [],
    fired: [soon!],
    facts: [fact('changed', '2'), fact('forgotten', null)],
  })
  await load(before, 'T', 1024)
  const light = lightQueueTopic('T')
  const size = (): number => before.status().logEnd - before.status().logStart
  await checkRetention(clock, () => size() <= 2 * SEGMENT_BYTES)
  const ranges = (store: MessageStore): unknown => [
    store.range('T', 0),
    store.range('quiet', 0),
    store.range(light, 0),
  ]
  const expected = ranges(before)
  await before.close()
  await rm(join(directory, 'views'), { recursive: true })
  const store = await openSmall(t, directory, clock)
  t.deepEqual(ranges(store), expected)
  t.is(store.range('quiet', 0).maxOffset, queueOffset(2))
  t.is(store.fact('k', 'kept')?.toString(), '1')
  t.is(store.fact('k', 'changed')?.toString(), '2')
  t.is(store.fact('k', 'forgotten'), undefined)
  const due = store.due(dueMs, 10)
  t.is(due.length, 1)
  t.is(new RecordView((await store.readAt(due[0]!.position))!).body.toString(), 'later')
  t.is(await firstBody(store, light), await firstBody(store, 'T'))
  const [appended] = await store.append({ messages: [draft('quiet', 'c')] })
  t.is(appended!.queueOffset, queueOffset(2))
})

test('a reader with the old position of a parked message still means it', async (t) => {
  const clock = new FakeClock()
  const store = await openSmall(t, await tempDir(t), clock, { retentionBytes: 2 * SEGMENT_BYTES })
  const dueMs = clock.now() + DAY_MS
  await store.append({ messages: [draft('T', 'parked', { dueMs })] })
  const [held] = store.due(dueMs, 1)
  await load(store, 'T', 1024)
  await checkRetention(clock, () => store.due(dueMs, 1)[0]?.position !== held!.position)
  await checkRetention(clock, () => store.status().logStart > held!.position)
  t.is(new RecordView((await store.readAt(held!.position))!).body.toString(), 'parked')
  t.true(store.waits(held!))
  await store.append({ messages: [draft('T', 'delivered')], fired: [held!] })
  t.false(store.waits(held!))
  t.is(store.status().pendingDue, 0)
})

/** Whose syncs are held once `hold` was called, until they are let go. */
function heldDisk() {
  let held: (() => void)[] | undefined
  const removed: string[] = []
  const disk: Disk = {
    ...nodeDisk,
    removeLater(path, done) {
      removed.push(path)
      nodeDisk.removeLater(path, done)
    },
    open(path, mode) {
      const file = nodeDisk.open(path, mode)
      const syncLater = file.syncLater.bind(file)
      return Object.assign(file, {
        syncLater(done: (error: Error | null) => void) {
          if (held === undefined) syncLater(done)
          else held.push(() => syncLater(done))
        },
      })
    },
  }
  const hold = (): void => {
    held = []
  }
  const letGo = (): void => {
    const syncs = held ?? []
    held = undefined
    for (const sync of syncs) sync()
  }
  return { disk, removed, hold, letGo, isHolding: () => (held?.length ?? 0) > 0 }
}

test('a parked message that was moved is found by its unique id where it waits, also by new views', async (t) => {
  const clock = new FakeClock()
  const directory = await tempDir(t)
  const limits = { retentionBytes: 2 * SEGMENT_BYTES }
  const before = await openSmall(t, directory, clock, limits)
  const dueMs = clock.now() + DAY_MS
  const properties = encodeProperties([[PROPERTY.uniqueKey, 'ID1']])
  await before.append({ messages: [draft('T', 'parked', { dueMs, properties })] })
  const placeIn = async (store: MessageStore): Promise<number[]> =>
    (await store.findByKey(SCHEDULE_TOPIC, 'ID1', { max: 10 }))
      .map((record) => ({ dueMs, position: new RecordView(record).position }))
      .filter((entry) => store.waits(entry))
      .map(({ position }) => position)
  const [held] = before.due(dueMs, 1)
  t.deepEqual(await placeIn(before), [held!.position])
  await load(before, 'T', 1024)
  await checkRetention(clock, () => before.due(dueMs, 1)[0]?.position !== held!.position)
  const [moved] = before.due(dueMs, 1)
  t.is((await placeIn(before))[0], moved!.position, 'the newest comes first')
  await before.close()
  await rm(join(directory, 'views'), { recursive: true })
  const after = await openSmall(t, directory, clock, limits)
  await eventually(async () => after.due(dueMs, 1)[0])
  t.deepEqual(await placeIn(after), [moved!.position])
})

test('a parked message can be read all the while it is moved', async (t) => {
  const clock = new FakeClock()
  const { disk, hold, letGo, isHolding } = heldDisk()
  const limits = { retentionBytes: 2 * SEGMENT_BYTES }
  const store = await openSmall(t, await tempDir(t), clock, limits, disk)
  const dueMs = clock.now() + DAY_MS
  await store.append({ messages: [draft('T', 'parked', { dueMs })] })
  const [entry] = store.due(dueMs, 1)
  await load(store, 'T', 1024)
  hold()
  t.teardown(letGo)
  await checkRetention(clock, isHolding)
  t.deepEqual(store.due(dueMs, 1), [entry])
  const record = await store.readAt(entry!.position)
  t.is(record && new RecordView(record).body.toString(), 'parked')
  letGo()
  await checkRetention(clock, () => store.status().logStart > entry!.position)
  t.truthy(await store.readAt(entry!.position))
})

test('with flush async a segment stays until what was kept of it is on the disk', async (t) => {
  const clock = new FakeClock()
  const { disk, removed, hold, letGo, isHolding } = heldDisk()
  const limits = { retentionBytes: 2 * SEGMENT_BYTES, flush: 'async' as const }
  const store = await openSmall(t, await tempDir(t), clock, limits, disk)
  const fact = { kind: 'k', key: 'a', value: Buffer.from('alive') }
  await store.append({ messages: [], facts: [fact] })
  await load(store, 'T', 1024)
  await clock.advanceAsync(1000)
  hold()
  t.teardown(letGo)
  await checkRetention(clock, isHolding)
  for (let i = 0; i < 200; i++) await new Promise((resolve) => setImmediate(resolve))
  t.deepEqual(removed, [])
  letGo()
  await checkRetention(clock, () => removed.length > 0)
})

test('a disk that runs low costs the oldest segment, one at a check, until there is room again', async (t) => {
  const clock = new FakeClock()
  let freeBytes = 1000 * KIB
  const disk: Disk = { ...nodeDisk, freeBytes: () => freeBytes }
  const store = await openSmall(t, await tempDir(t), clock, { diskFreeBytesMin: 900 * KIB }, disk)
  await load(store, 'T', 1024)
  const start = (): number => store.status().logStart
  const pause = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
  clock.advance(60_000)
  for (let i = 0; i < 100; i++) await pause()
  t.is(start(), 0)
  freeBytes = 800 * KIB
  await checkRetention(clock, () => start() > 0)
  const afterOne = start()
  t.true(afterOne <= SEGMENT_BYTES)
  await checkRetention(clock, () => start() > afterOne)
  t.true(start() <= 2 * SEGMENT_BYTES)
  freeBytes = 1000 * KIB
  const kept = start()
  clock.advance(60_000)
  for (let i = 0; i < 100; i++) await pause()
  t.is(start(), kept)
  t.is(await firstBody(store, 'T'), String(store.range('T', 0).minOffset))
})

test('others run while a segment is looked through for parked messages', async (t) => {
  const clock = new FakeClock()
  const store = await openSmall(t, await tempDir(t), clock, { retentionBytes: 2 * SEGMENT_BYTES })
  await store.append({ messages: [draft('T', 'parked', { dueMs: clock.now() + DAY_MS })] })
  await load(store, 'T', 1024)
  const turns = endSlicesAtOnce(t, clock)
  await checkRetention(clock, () => store.status().logStart > 0)
  // A segment has some 15 frames.
  t.true(turns().size >= 15)
})

/** Retention has read the first note, of a topic or a fact, and rests before it goes on. */
async function restingRetention(t: ExecutionContext, group: AppendGroup): Promise<Resting> {
  const clock = new FakeClock()
  const directory = await tempDir(t)
  const limits = { retentionBytes: 2 * SEGMENT_BYTES }
  const store = await openSmall(t, directory, clock, limits)
  await store.append(group)
  await load(store, 'T', 1024)
  // Every look at this clock finds the slice over.
  let looks = 0
  clock.monotonic = () => looks++ * 1000
  clock.advance(60_000)
  const passed = async (): Promise<void> => {
    await checkRetention(clock, () => store.status().logStart > 0)
    await store.close()
  }
  return { store, passed, reopen: () => openSmall(t, directory, new FakeClock()) }
}

interface Resting {
  readonly store: MessageStore
  /** The segment went, and the store is closed. */
  readonly passed: () => Promise<void>
  readonly reopen: () => Promise<MessageStore>
}

test('a fact that is written while retention rests keeps its new value', async (t) => {
  const fact = (value: string) => ({ kind: 'k', key: 'a', value: Buffer.from(value) })
  const { store, passed, reopen } = await restingRetention(t, {
    messages: [],
    facts: [fact('old')],
  })
  await store.append({ messages: [], facts: [fact('new')] })
  await passed()
  t.is((await reopen()).fact('k', 'a')?.toString(), 'new')
})

test('a topic that is dropped while retention rests stays dropped', async (t) => {
  const { store, passed, reopen } = await restingRetention(t, {
    messages: [draft('dropped', 'a'), draft('dropped', 'b')],
  })
  await store.dropQueues('dropped')
  await passed()
  t.is((await reopen()).range('dropped', 0).maxOffset, queueOffset(0))
})

test('a parked message of a dropped topic does not outlive its segment', async (t) => {
  const clock = new FakeClock()
  const directory = await tempDir(t)
  const store = await openSmall(t, directory, clock, { retentionBytes: 2 * SEGMENT_BYTES })
  const dueMs = clock.now() + DAY_MS
  const parked = (topic: string) => draft(topic, topic, { dueMs })
  await store.append({ messages: [parked('dropped'), parked('kept')] })
  await store.dropQueues('dropped')
  await load(store, 'T', 1024)
  await checkRetention(clock, () => store.status().logStart > 0 && store.status().pendingDue === 1)
  await store.close()
  await rm(join(directory, 'views'), { recursive: true })
  const rebuilt = await openSmall(t, directory, clock)
  const due = rebuilt.due(dueMs, 10)
  const records = await Promise.all(due.map(({ position }) => rebuilt.readAt(position)))
  t.deepEqual(
    records.map((record) => new RecordView(record!).body.toString()),
    ['kept'],
  )
})

test('a parked message whose topic is dropped at the moment that its segment goes is not moved behind the drop', async (t) => {
  const clock = new FakeClock()
  const store = await openSmall(t, await tempDir(t), clock, { retentionBytes: 2 * SEGMENT_BYTES })
  const dueMs = clock.now() + DAY_MS
  await store.append({ messages: [draft('dropped', 'parked', { dueMs })] })
  await load(store, 'T', 1024)
  const dropping = store.dropQueues('dropped')
  clock.advance(60_000)
  await dropping
  await checkRetention(clock, () => store.status().logStart > 0)
  const left = await Promise.all(store.due(dueMs, 10).map(({ position }) => store.readAt(position)))
  t.deepEqual(
    left.filter((record) => !store.isDropped(new RecordView(record!))),
    [],
  )
})

/** Whose files cannot be removed while it sticks. */
function stickyDisk(): { readonly disk: Disk; readonly stick: (isStuck: boolean) => void } {
  let isStuck = false
  const disk: Disk = {
    ...nodeDisk,
    removeLater(path, done) {
      if (!isStuck) return nodeDisk.removeLater(path, done)
      setImmediate(done, Object.assign(new Error('not now'), { code: 'EIO' }))
    },
  }
  return {
    disk,
    stick(on) {
      isStuck = on
    },
  }
}

test('views that are built again while an old segment cannot go show the same', async (t) => {
  const clock = new FakeClock()
  const { disk, stick } = stickyDisk()
  const place = new MemoryPlace({ random: new Random(1) })
  const log = new LogLines()
  const limits = { retentionBytes: 2 * SEGMENT_BYTES, place, log }
  const store = await openSmall(t, await tempDir(t), clock, limits, disk)
  await load(store, 'other', 320)
  // In the second segment, which stays in the list behind the first one.
  await store.bindLightQueue('T', true)
  await load(store, 'T', 1024)
  stick(true)
  const light = lightQueueTopic('T')
  // The records behind it, some 1.1 KiB each, are within the limit: no more is trimmed at this
  // check.
  await checkRetention(clock, () => store.range(light, 0).minOffset > 560)
  const ranges = (): unknown => [store.range('T', 0), store.range(light, 0)]
  for (let builds = 0; builds < 2; builds++) {
    await store.append({ messages: [draft('T', 'x')] })
    const expected = ranges()
    place.failures = 1
    const count = log.lines.length
    await pass(clock, 1000, () => log.events().indexOf('views.built', count) > 0)
    t.deepEqual(ranges(), expected)
    t.is(await firstBody(store, light), await firstBody(store, 'T'))
  }
})

test('a segment whose file cannot go is let go once, and goes when it can', async (t) => {
  const clock = new FakeClock()
  const { disk, stick } = stickyDisk()
  const log = new LogLines()
  const limits = { retentionBytes: 2 * SEGMENT_BYTES, log }
  const store = await openSmall(t, await tempDir(t), clock, limits, disk)
  await load(store, 'T', 1400)
  stick(true)
  const count = (evt: string): number => log.events().filter((event) => event === evt).length
  await checkRetention(clock, () => count('segment.dropped') >= 3)
  for (let checks = 0; checks < 2; checks++) {
    const before = count('segment.not_removed')
    await checkRetention(clock, () => count('segment.not_removed') > before)
    for (let i = 0; i < 100; i++) await new Promise((resolve) => setImmediate(resolve))
  }
  const dropped = log.lines.flatMap((line) =>
    line.evt === 'segment.dropped' ? [line['segment']] : [],
  )
  t.is(new Set(dropped).size, dropped.length, dropped.join())
  stick(false)
  await checkRetention(
    clock,
    () => store.status().logEnd - store.status().logStart <= 2 * SEGMENT_BYTES,
  )
  t.is(count('segment.dropped'), dropped.length)
})

test('what is too old goes while the views cannot be written, and those built later show the same', async (t) => {
  const clock = new FakeClock()
  const place = new MemoryPlace({ random: new Random(1) })
  const log = new LogLines()
  const store = await openSmall(t, await tempDir(t), clock, { retentionMs: DAY_MS, place, log })
  await store.append({ messages: [], facts: [{ kind: 'k', key: 'f', value: Buffer.from('kept') }] })
  await load(store, 'old', 600)
  place.failures = Number.POSITIVE_INFINITY
  await load(store, 'young', 16)
  await pass(clock, 1000, () => log.events().includes('views.not_built'))
  clock.advance(2 * DAY_MS)
  await load(store, 'young', 600)
  await checkRetention(clock, () => store.range('old', 0).minOffset > 400)
  t.true(store.status().isRebuilding)
  t.true(store.status().logStart > 0)
  place.failures = 0
  await pass(clock, 60_000, () => !store.status().isRebuilding)
  t.is(store.range('young', 0).minOffset, queueOffset(0))
  t.is(await firstBody(store, 'old'), String(store.range('old', 0).minOffset))
  t.is(store.fact('k', 'f')?.toString(), 'kept')
})

test('old segments go though no slave confirms what is written again', async (t) => {
  const clock = new FakeClock()
  const store = await openSmall(t, await tempDir(t), clock, { retentionBytes: 2 * SEGMENT_BYTES })
  const dueMs = clock.now() + DAY_MS
  const facts = [{ kind: 'kind', key: 'key', value: Buffer.from('value') }]
  await store.append({ messages: [draft('T', 'parked', { dueMs })], facts })
  const [held] = store.due(dueMs, 1)
  await load(store, 'T', 1024)
  const refusal = new BrokerError('NO_REPLICA', 'no slave is connected')
  store.replication.hold().refuse(logPosition(Number.MAX_SAFE_INTEGER), refusal)
  const size = (): number => store.status().logEnd - store.status().logStart
  await checkRetention(clock, () => size() <= 2 * SEGMENT_BYTES)
  t.true(held!.position < store.status().logStart)
  t.true(store.waits(held!))
  t.true(store.placeOf(held!.position) >= store.status().logStart)
  t.is(store.fact('kind', 'key')?.toString(), 'value')
})
