// The store while its disk is full or its views cannot be written.
import test, { type ExecutionContext } from 'ava'
import { BrokerError } from '../../src/errors.ts'
import { logPosition, queueOffset } from '../../src/model/positions.ts'
import { recordsOf } from '../../src/model/record.ts'
import { QuickReads } from '../../src/store/disk/quick-reads.ts'
import { openStoreIn } from '../../src/store/open.ts'
import type { MessageStore } from '../../src/store/store.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { LogLines } from '../support/log-lines.ts'
import { Random } from '../support/random.ts'
import { MemoryPlace } from '../support/simulation/memory-key-value.ts'
import { SimulatedDisk } from '../support/simulation/simulated-disk.ts'
import { draft } from '../support/store/store-contents.ts'

const KIB = 1024
/** What the keys of the blocks of queues begin with. */
const BLOCK_KEY = 'B'.charCodeAt(0)

function machine(capacityBytes = Number.POSITIVE_INFINITY) {
  const random = new Random(7)
  const inPool = (fn: () => void): void => void setImmediate(fn)
  const disk = new SimulatedDisk({ random, inPool, capacityBytes })
  return { disk, place: new MemoryPlace({ random, inPool }) }
}

async function open(
  t: ExecutionContext,
  capacityBytes?: number,
  { disk, place } = machine(capacityBytes),
  limits: { readonly memoryBytesMax?: number; readonly retentionBytes?: number } = {},
) {
  const clock = new FakeClock()
  const log = new LogLines()
  const store = await openStoreIn({
    logPath: '/log',
    viewsPath: '/views',
    disk,
    place,
    clock,
    log,
    storeHost: { ip: 0x7f000001, port: 10_911 },
    closed() {},
    segmentBytes: 256 * KIB,
    cachedBlocksMax: 4,
    ...limits,
    logOptions: {
      aheadBytes: 16 * KIB,
      fillPieceBytes: 16 * KIB,
      reserveBytes: 64 * KIB,
      frameBytesMax: 64 * KIB,
      tailBytesMax: 192 * KIB,
    },
  })
  t.teardown(() => store.close())
  return { store, disk, place, clock, log }
}

/** Lets time pass until something holds. */
async function until(clock: FakeClock, isSo: () => boolean): Promise<void> {
  for (let i = 0; !isSo(); i++) {
    if (i > 2000) throw new Error('it never came to be')
    await clock.advanceAsync(50)
  }
}

async function bodies(store: MessageStore, topic: string): Promise<string[]> {
  const found: string[] = []
  const { maxOffset } = store.range(topic, 0)
  for (let offset = queueOffset(0); offset < maxOffset; ) {
    const result = await store.read({
      topic,
      queueId: 0,
      offset,
      maxMessages: 100,
      maxBytes: 1 << 20,
      hashes: undefined,
    })
    for (const record of recordsOf(result.records)) found.push(record.body.toString().trim())
    offset = result.nextOffset
  }
  return found
}

/** Its disk, for views. */
function fill(place: MemoryPlace): { isFull: boolean } {
  const full = { isFull: true }
  const openNow = place.open.bind(place)
  place.open = async (name, create) => {
    if (!full.isFull) return openNow(name, create)
    if (!create) return undefined
    const cause = new Error('IO error: MANIFEST-000001: No space left on device')
    throw new Error('Database failed to open', { cause })
  }
  return full
}

test('a start that finds room for its views neither on the disk nor in memory says what to do', async (t) => {
  const { store, disk, place } = await open(t)
  await store.append({ messages: [draft('T', 'a')] })
  await store.close()
  fill(place)
  const error = await t.throwsAsync(open(t, undefined, { disk, place }, { memoryBytesMax: 100 }))
  t.is(BrokerError.from(error).code, 'CONFIG_INVALID')
  t.regex(error?.message ?? '', /'\/views'.*100 bytes.*free some space/)
})

test('a start that finds no room for its views serves from memory, and from the disk when there is', async (t) => {
  const first = await open(t)
  await first.store.append({
    messages: [draft('T', 'a'), draft('T', 'b', { dueMs: first.clock.now() + 3_600_000 })],
    facts: [{ kind: 'f', key: 'k', value: Buffer.from('v') }],
  })
  await first.store.close()
  const { disk, place } = first
  const full = fill(place)
  const { store, clock, log } = await open(t, undefined, { disk, place })
  t.true(log.events().includes('views.in_memory'))
  t.deepEqual(await bodies(store, 'T'), ['a'])
  await store.append({ messages: [draft('T', 'c')] })
  await clock.advanceAsync(10_000)
  t.deepEqual(await bodies(store, 'T'), ['a', 'c'])
  t.is(store.fact('f', 'k')?.toString(), 'v')
  t.is(store.status().pendingDue, 1)
  t.true(store.status().isRebuilding)
  full.isFull = false
  await until(clock, () => !store.status().isRebuilding)
  t.deepEqual(await bodies(store, 'T'), ['a', 'c'])
  await store.close()
  const again = await open(t, undefined, { disk, place })
  t.deepEqual(
    again.log.events().filter((event) => event.startsWith('views.')),
    [],
  )
  t.deepEqual(await bodies(again.store, 'T'), ['a', 'c'])
})

test('a full disk refuses messages, lets facts and reads go on, and resumes without a hole', async (t) => {
  const { store, disk, clock } = await open(t, 700 * KIB)
  const heard: boolean[] = []
  store.onWritable((writable) => heard.push(writable))
  const stored: string[] = []
  let refusal: { code?: string; message?: string } = {}
  for (let i = 0; refusal.code === undefined && i < 2000; i++) {
    const body = `m${i}`
    try {
      await store.append({ messages: [draft('T', body.padEnd(KIB))] })
      stored.push(body)
    } catch (error) {
      refusal = error as { code: string }
    }
  }
  t.is(refusal.code, 'READ_ONLY')
  t.false(store.status().writable)
  t.truthy(store.status().reason)
  t.deepEqual(heard, [false])
  await store.append({
    messages: [],
    facts: [{ kind: 'cursor', key: 'g', value: Buffer.from('9') }],
  })
  t.is(store.fact('cursor', 'g')?.toString(), '9')
  t.deepEqual(await bodies(store, 'T'), stored)
  t.is(store.range('T', 0).maxOffset, queueOffset(stored.length))
  disk.capacityBytes = Number.POSITIVE_INFINITY
  await until(clock, () => store.status().writable)
  t.deepEqual(heard, [false, true])
  const [next] = await store.append({ messages: [draft('T', 'after')] })
  t.is(next!.queueOffset, queueOffset(stored.length))
  t.deepEqual(await bodies(store, 'T'), [...stored, 'after'])
})

test('a full disk refuses new messages whatever facts go with them, and takes what consumers need', async (t) => {
  const { store } = await open(t, 700 * KIB)
  const messages = [draft('T', 'x'.padEnd(KIB))]
  const facts = [{ kind: 'session', key: 's', value: Buffer.from('1') }]
  while (store.status().writable) await store.append({ messages }).catch(() => {})
  await t.throwsAsync(store.append({ messages, facts, isNew: true }), { code: 'READ_ONLY' })
  t.is(store.fact('session', 's'), undefined)
  await store.append({ messages, facts })
  t.is(store.fact('session', 's')?.toString(), '1')
})

test('views that cannot be written are built again once they can, and nothing waits for them', async (t) => {
  const { store, place, clock, log } = await open(t)
  await store.append({ messages: [draft('T', 'a')] })
  place.failures = 5
  for (let i = 0; i < 3; i++) {
    await store.append({
      messages: [draft('T', `b${i}`)],
      facts: [{ kind: 'k', key: 'x', value: Buffer.from(`${i}`) }],
    })
    await clock.advanceAsync(1000)
  }
  t.true(log.events().includes('views.damaged'))
  t.is(store.status().isRebuilding, true)
  t.deepEqual(await bodies(store, 'T'), ['a', 'b0', 'b1', 'b2'])
  await until(clock, () => !store.status().isRebuilding)
  t.is(place.failures, 0)
  t.deepEqual(await bodies(store, 'T'), ['a', 'b0', 'b1', 'b2'])
  t.is(store.fact('k', 'x')?.toString(), '2')
  const [next] = await store.append({ messages: [draft('T', 'c')] })
  t.is(next!.queueOffset, queueOffset(4))
})

/**
 * 400 messages, one in each millisecond from `first` on, and a disk whose reads are held until they
 * are let go.
 */
async function openHeld(t: ExecutionContext) {
  const opened = await open(t)
  const { store, disk, clock } = opened
  const first = clock.now()
  for (let i = 0; i < 400; i++) {
    await store.append({ messages: [draft('T', `m${i}`.padEnd(KIB))] })
    clock.advance(1)
  }
  await clock.advanceAsync(1000)
  const held: (() => void)[] = []
  let isHolding = true
  const { open: openFile } = disk
  disk.open = (path, mode) => {
    const file = openFile.call(disk, path, mode)
    const { readLater } = file
    return Object.assign(file, {
      readLater(...args: Parameters<typeof readLater>) {
        if (isHolding) held.push(() => readLater.apply(file, args))
        else readLater.apply(file, args)
      },
    })
  }
  const letGo = (): void => {
    isHolding = false
    for (const read of held.splice(0)) read()
  }
  return { ...opened, first, held, letGo }
}

/** From now on no block of a queue is found in the views, and no new views can be made. */
function breakViews(place: MemoryPlace) {
  const broken = { blocks: true, builds: true }
  const openNow = place.open.bind(place)
  place.open = async (name, create) => {
    if (broken.builds && create) throw new Error('no new one now')
    const opened = await openNow(name, create)
    if (opened === undefined) return undefined
    const get = opened.get.bind(opened)
    opened.get = (key) => (broken.blocks && key[0] === BLOCK_KEY ? undefined : get(key))
    return opened
  }
  return broken
}

test('views that could not read what they go on from are not saved at the close', async (t) => {
  const first = await open(t)
  for (const body of ['a', 'b', 'c']) await first.store.append({ messages: [draft('T', body)] })
  await first.store.close()
  const { disk, place } = first
  const broken = breakViews(place)
  const second = await open(t, undefined, { disk, place })
  await second.store.append({ messages: [draft('T', 'd')] })
  t.true(second.log.events().includes('views.damaged'))
  await second.store.close()
  Object.assign(broken, { blocks: false, builds: false })
  const { store } = await open(t, undefined, { disk, place })
  t.deepEqual(await bodies(store, 'T'), ['a', 'b', 'c', 'd'])
})

test('retention takes nothing while the views lack something, and goes on when they are whole', async (t) => {
  const first = await open(t)
  const message = draft('T', 'x'.padEnd(KIB))
  for (let i = 0; i < 1000; i++) await first.store.append({ messages: [message] })
  await first.store.close()
  const { disk, place } = first
  const broken = breakViews(place)
  const limits = { retentionBytes: 512 * KIB }
  const { store, clock, log } = await open(t, undefined, { disk, place }, limits)
  await store.append({ messages: [message] })
  t.true(log.events().includes('views.damaged'))
  broken.blocks = false
  await clock.advanceAsync(300_000)
  t.is(store.status().logStart, logPosition(0))
  broken.builds = false
  await until(clock, () => store.status().logStart > 0)
})

test('a search that outlives the views it began in is answered from the new ones, which are not blamed', async (t) => {
  const { store, place, clock, log, first, held, letGo } = await openHeld(t)
  const search = store.offsetByTime('T', 0, first + 100)
  await until(clock, () => held.length === 1)
  place.failures = 1
  await store.append({ messages: [draft('T', 'new')] })
  await until(clock, () => log.events().includes('views.damaged') && !store.status().isRebuilding)
  letGo()
  t.is(await search, queueOffset(100))
  await until(clock, () => !store.status().isRebuilding)
  t.is(log.events().filter((event) => event === 'views.damaged').length, 1)
})

test('a search that a drop overtakes ends where the queue does, and no view is blamed', async (t) => {
  const { store, clock, log, first, held, letGo } = await openHeld(t)
  const search = store.offsetByTime('T', 0, first + 100)
  await until(clock, () => held.length === 1)
  await store.dropQueues('T')
  letGo()
  t.is(await search, queueOffset(0))
  t.false(log.events().includes('views.damaged'))
})

test('live light queues live through a new build of the views', async (t) => {
  const { store, place, clock, log } = await open(t)
  await store.bindLightQueue('T', false)
  await store.append({ messages: [draft('T', 'a')] })
  place.failures = 1
  await until(clock, () => log.events().includes('views.damaged'))
  const appended = store.append({ messages: [draft('T', 'b')] })
  await until(clock, () => !store.status().isRebuilding)
  await appended
  await store.append({ messages: [draft('T', 'c')] })
  t.deepEqual(await bodies(store, '%LIVE%T'), ['a', 'b', 'c'])
  t.deepEqual(await bodies(store, 'T'), ['a', 'b', 'c'])
})

test('a process that is short of descriptors is told to wait: nothing is skipped as damaged', async (t) => {
  const { store, disk, log, clock, stored, readParked } = await openLoaded(t)
  disk.readFault = 'EMFILE'
  await t.throwsAsync(bodies(store, 'T'), { code: 'BUSY' })
  clock.advance(30_000)
  await t.throwsAsync(readParked, { code: 'BUSY' })
  disk.readFault = undefined
  t.deepEqual(await bodies(store, 'T'), stored)
  t.is(store.status().damagedRecords, 0)
  t.false(log.events().includes('record.damaged'))
})

/** A store with a parked message and 400 others, too many for the tail. */
async function openLoaded(t: ExecutionContext) {
  const opened = await open(t)
  const { store } = opened
  const [parked] = await store.append({ messages: [draft('T', 'later', { dueMs: 1e13 })] })
  const stored = Array.from({ length: 400 }, (_, i) => `m${i}`)
  for (const body of stored) await store.append({ messages: [draft('T', body.padEnd(KIB))] })
  return { ...opened, stored, readParked: async () => store.readAt(parked!.position) }
}

test('a disk that does not read is believed once that has lasted, for the whole segment', async (t) => {
  const { store, disk, clock, log, readParked } = await openLoaded(t)
  disk.readFault = 'EIO'
  const error = await t.throwsAsync(readParked, { code: 'BUSY' })
  t.regex(error?.message ?? '', /EIO.*look at the disk/)
  clock.advance(29_000)
  await t.throwsAsync(readParked, { code: 'BUSY' })
  await t.throwsAsync(bodies(store, 'T'), { code: 'BUSY' })
  t.deepEqual(
    log.events().filter((event) => event.startsWith('log.')),
    ['log.read_failed'],
  )
  clock.advance(1000)
  t.is(await readParked(), undefined)
  t.true(log.events().includes('log.unreadable'))
  const first = { topic: 'T', queueId: 0, offset: queueOffset(0), maxMessages: 10, maxBytes: KIB }
  t.is((await store.read({ ...first, hashes: undefined })).status, 'no-match')
  t.true(store.status().damagedRecords > 0)
})

test('a disk that reads again is not held to what it did before', async (t) => {
  const { store, disk, clock, log, stored, readParked } = await openLoaded(t)
  for (let i = 0; i < 5; i++) {
    disk.readFault = 'EIO'
    await t.throwsAsync(readParked, { code: 'BUSY' })
    disk.readFault = undefined
    t.truthy(await readParked())
    clock.advance(20_000)
  }
  t.deepEqual(await bodies(store, 'T'), stored)
  t.false(log.events().includes('log.unreadable'))
})

test('failures that are far apart are not one trouble', async (t) => {
  const { disk, clock, readParked } = await openLoaded(t)
  disk.readFault = 'EIO'
  for (let i = 0; i < 3; i++) {
    await t.throwsAsync(readParked, { code: 'BUSY' })
    clock.advance(60_000)
  }
})

test('many facts are written in batches of one turn each, and not all of them some time later', async (t) => {
  const { store, place } = await open(t)
  const before = place.batches
  for (let n = 0; n < 70; n++) {
    const keys = Array.from({ length: 1000 }, (_, i) => `${n * 1000 + i}`)
    const facts = keys.map((key) => ({ kind: 'k', key, value: Buffer.of(1) }))
    await store.append({ messages: [], facts })
  }
  // The clock stands still, so it was not for the time.
  t.true(place.batches > before + 1, `${place.batches - before} batches`)
})

test('small reads leave the loop when two were slow, for longer each time, and come back', (t) => {
  const clock = new FakeClock()
  const reads = new QuickReads(clock)
  const quick = (): void => {}
  const slow = (): void => clock.advance(1)
  const pooled = (): number => {
    let count = 0
    while (!reads.takes()) count++
    return count
  }
  t.is(pooled(), 0)
  reads.run(1, quick)
  t.is(pooled(), 0)
  reads.run(1, slow)
  t.is(pooled(), 0)
  reads.run(1, slow)
  const first = pooled()
  reads.run(1, slow)
  const second = pooled()
  t.true(first > 0 && second === 2 * first, `${first}, then ${second}`)
  // Where each of them has others between.
  for (let n = 0; n < 10; n++) {
    for (let i = 0; i < 100; i++) reads.run(1, quick)
    reads.run(1, slow)
    t.is(pooled(), 0)
  }
  reads.run(1, slow)
  t.is(pooled(), first)
})

test('where the newest messages are not in the page cache, few reads of them wait on the loop', async (t) => {
  const { store, disk, clock, stored, readParked } = await openLoaded(t)
  let slow = 0
  disk.onRead = () => {
    slow++
    clock.advance(1)
  }
  for (let i = 0; i < 100; i++) {
    const { records } = await store.read({
      ...{ topic: 'T', queueId: 0, offset: queueOffset(i), hashes: undefined },
      ...{ maxMessages: 1, maxBytes: 1 },
    })
    t.is([...recordsOf(records)][0]!.body.toString().trim(), stored[i]!)
  }
  t.true(slow > 0 && slow <= 4, `${slow} of one hundred reads`)
  slow = 0
  for (let i = 0; i < 100; i++) t.truthy(await readParked())
  t.true(slow > 0 && slow <= 4, `${slow} of one hundred records`)
})
