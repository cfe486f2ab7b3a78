import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import fc from 'fast-check'
import { getU64 } from '../../../src/model/bytes.ts'
import { type ConsumeQueue, ENTRY_BYTES } from '../../../src/store/views/consume-queue.ts'
import { DROP_KIND } from '../../../src/store/views/dropped-topics.ts'
import { HalfBuild } from '../../../src/store/views/half-build.ts'
import {
  dueKey,
  factKey,
  minuteKey,
  parseDueKey,
  parseFactKey,
  parseMinuteKey,
  parseQueueKey,
  parseRunKey,
  prefixRange,
  queueKey,
  runKey,
  writeBlockKey,
} from '../../../src/store/views/keys.ts'
import { liveBlocks } from '../../../src/store/views/live-blocks.ts'
import { lockByKernel } from '../../../src/store/views/pairs/level.ts'
import { MemoryFull, MemoryKeyValue } from '../../../src/store/views/pairs/memory-key-value.ts'
import { SEAL_BYTES, SealedKeyValue } from '../../../src/store/views/pairs/sealed.ts'
import { SortedPairs } from '../../../src/store/views/sorted-pairs.ts'
import { StoreTimes } from '../../../src/store/views/store-times.ts'
import { Views } from '../../../src/store/views/views.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { LogLines } from '../../support/log-lines.ts'
import { Random } from '../../support/random.ts'
import { MemoryPlace } from '../../support/simulation/memory-key-value.ts'
import { SimulatedDisk } from '../../support/simulation/simulated-disk.ts'
import { tempDir } from '../../support/temp-dir.ts'
import { endSlicesAtOnce } from '../../support/turns.ts'

/** More than a call takes as arguments. */
const MANY = 130_000
/** Of a saved queue: where the offset of its end is. */
const NEXT_AT = SEAL_BYTES + 12
const ONE_ENTRY = SEAL_BYTES + ENTRY_BYTES

async function opened() {
  const place = new MemoryPlace({ random: new Random(1) })
  const stored = new SealedKeyValue((await place.open('1', true))!)
  const clock = new FakeClock()
  const views = new Views({
    stored,
    identity: 'a',
    logId: 1,
    clock,
    liveStore: liveBlocks(),
    damaged: (error) => {
      throw error
    },
  })
  const save = async (): Promise<void> => {
    const batch = await views.save(1)
    await batch.write(false)
    views.saved()
  }
  const countOf = async (prefix: 'Q' | 'B' | 'G'): Promise<number> => {
    let count = 0
    for await (const _ of stored.scan(...prefixRange(prefix))) count++
    return count
  }
  return { views, clock, stored, save, countOf }
}

test('any number of durable light queues is trimmed, and goes, at once', async (t) => {
  const { views, save } = await opened()
  const filters = Array.from({ length: MANY }, (_, i) => `T/${i}`)
  for (const filter of filters) views.light.bindDurable(filter)
  await views.trimBefore(1)
  for (const filter of filters) views.removeQueue(views.light.unbindDurable(filter)!)
  await save()
  t.true(views.hasGarbage)
})

test('of a topic that is dropped nothing is left, but where appends to it are under way', async (t) => {
  const { views, save, countOf } = await opened()
  const queueOf = (topic: string) => views.queues.queue(views.queues.topic(topic), 3)
  for (const topic of ['gone', 'back']) queueOf(topic).append(100, 200, 0, 0)
  await save()
  t.is(await countOf('Q'), 2)
  queueOf('back').assigned = 1
  views.dropTopic('gone', 300)
  views.dropTopic('back', 300)
  t.is(views.queues.find('gone', 3), undefined)
  t.is(views.queues.find('back', 3)?.next, 0)
  await save()
  while (views.hasGarbage) await views.clearGarbage()
  t.is(await countOf('Q'), 1)
  t.is(await countOf('B'), 0)
  t.is(await countOf('G'), 0)
})

test('a batch is due when so many queues have changed as one turn can save', async (t) => {
  const { views, save } = await opened()
  for (let i = 0; i < 2_048; i++) {
    t.false(views.isFull(MANY))
    views.queues.queue(views.queues.topic(`T${i}`), 0).append(i * 100, 100, 0, 0)
  }
  t.true(views.isFull(MANY))
  await save()
  t.false(views.isFull(MANY))
})

test('a batch takes turns, and has the queues as they were when it began', async (t) => {
  const { views, clock, stored } = await opened()
  const queueOf = (topic: string) => views.queues.queue(views.queues.topic(topic), 0)
  const topics = ['first', 'last', 'gone']
  for (const topic of topics) queueOf(topic).append(100, 100, 0, 0)
  const turns = endSlicesAtOnce(t, clock)
  const saving = views.save(1)
  for (const topic of topics) queueOf(topic).append(200, 100, 0, 0)
  views.dropTopic('gone', 300)
  await (await saving).write(false)
  t.true(turns().size >= topics.length)
  const ends: number[] = []
  for await (const [, value] of stored.scan(...prefixRange('Q'))) ends.push(getU64(value, NEXT_AT))
  t.deepEqual(ends, [1, 1, 1])
  for await (const [, value] of stored.scan(...prefixRange('B'))) t.is(value.length, ONE_ENTRY)
  views.saved()

  await (await views.save(1)).write(false)
  const next: number[] = []
  for await (const [, value] of stored.scan(...prefixRange('Q'))) next.push(getU64(value, NEXT_AT))
  t.deepEqual(next, [2, 2])
})

test('trimmed blocks stay until a batch says that they are trimmed: a kill between leaves nothing missing', async (t) => {
  const { views, save, countOf } = await opened()
  const queue = views.queues.queue(views.queues.topic('T'), 0)
  for (let i = 0; i < 100; i++) queue.append(i * 100, 100, 0, 0)
  await save()
  t.is(await countOf('B'), 4)
  await views.trimBefore(7000)
  t.is(queue.min, 70)
  await views.clearGarbage()
  t.is(await countOf('B'), 4)
  await save()
  await views.clearGarbage()
  t.is(await countOf('B'), 2)
})

test('all that stands before the new start of the log is forgotten in one turn', async (t) => {
  const { views, clock } = await opened()
  for (const topic of ['kept', 'gone', 'gone too']) {
    const queue = views.queues.queue(views.queues.topic(topic), 0)
    queue.append(100, 100, 0, 0)
    queue.append(300, 100, 0, 0)
  }
  views.dropTopic('gone', 150)
  views.dropTopic('gone too', 150)
  endSlicesAtOnce(t, clock)
  const trimming = views.trimBefore(200)
  const state = () => [
    views.trimmedTo,
    views.queues.find('kept', 0)!.min,
    views.facts.get(DROP_KIND, 'gone') === undefined,
    views.facts.get(DROP_KIND, 'gone too') === undefined,
  ]
  const seen = new Set([String(state())])
  let isDone = false
  void trimming.then(() => {
    isDone = true
  })
  while (!isDone) {
    await new Promise((resolve) => setImmediate(resolve))
    seen.add(String(state()))
  }
  t.deepEqual([...seen], ['0,0,false,false', '200,1,true,true'])
})

test('a queue that begins anew while others are looked through keeps what comes to it then', async (t) => {
  const { views, clock } = await opened()
  const queues = ['T', 'U'].map((topic) => views.queues.queue(views.queues.topic(topic), 0))
  for (const queue of queues) for (let i = 0; i < 3; i++) queue.append(i * 100, 100, 0, 0)
  endSlicesAtOnce(t, clock)
  const trimming = views.trimBefore(250)
  const [queue] = queues as [ConsumeQueue, ConsumeQueue]
  // Under way while the topic is dropped, and made again by it.
  queue.assigned = 4
  views.dropTopic('T', 300)
  for (let i = 4; i < 9; i++) queue.append(i * 100, 100, 0, 0)
  await trimming
  t.is(queue.min, 0)
})

async function started() {
  const random = new Random(1)
  const disk = new SimulatedDisk({ random, inPool: (fn) => fn() })
  disk.makeDirectory('/views')
  const place = new MemoryPlace({ random })
  await (await place.open('7', true))!.close()
  return { place, half: new HalfBuild(disk, '/views', place) }
}

test('a half build is there once it is noted, until it ends', async (t) => {
  const { half } = await started()
  t.is(half.read(), undefined)
  half.note({ name: '7', identity: 'ab' })
  t.like(half.read(), { name: '7', identity: 'ab', deaths: 0 })
  half.end()
  half.end()
  t.is(half.read(), undefined)
})

test('a half build that did not come to its opening twice is not opened again, until it gets on', async (t) => {
  const { half } = await started()
  half.note({ name: '7', identity: 'ab' })
  for (const isOpened of [true, true, false]) {
    const store = await half.open(half.read()!)
    t.is(store !== undefined, isOpened)
    await store?.close()
  }
  half.note({ name: '7', identity: 'ab' })
  t.not(await half.open(half.read()!), undefined)
})

test('a half build that is discarded leaves no store', async (t) => {
  const { half, place } = await started()
  half.note({ name: '7', identity: 'ab' })
  await half.discard('7')
  t.is(half.read(), undefined)
  t.deepEqual(await place.names(), [])
})

const POSITION_MAX = Number.MAX_SAFE_INTEGER
const position = fc.nat(POSITION_MAX)
const dueMs = fc.nat(2 ** 48 - 1)
const topic = fc.string({ unit: 'binary', minLength: 1 }).filter((text) => !text.includes('\u0000'))

const sign = (n: number): number => Math.sign(n)

test('keys of parked messages sort by due time, then position, and are read back', (t) => {
  fc.assert(
    fc.property(dueMs, position, dueMs, position, (due, at, otherDue, otherAt) => {
      t.deepEqual(parseDueKey(dueKey(due, at)), { dueMs: due, position: at })
      const order = sign(due - otherDue) || sign(at - otherAt)
      t.is(sign(dueKey(due, at).compare(dueKey(otherDue, otherAt))), order)
    }),
  )
})

test('keys of blocks sort by queue, then block', (t) => {
  const number = fc.nat(2 ** 32 - 1)
  const block = fc.nat(2 ** 48 - 1)
  fc.assert(
    fc.property(number, block, number, block, (queue, at, otherQueue, otherAt) => {
      const key = writeBlockKey(Buffer.alloc(11), queue, at)
      const other = writeBlockKey(Buffer.alloc(11), otherQueue, otherAt)
      t.is(sign(key.compare(other)), sign(queue - otherQueue) || sign(at - otherAt))
    }),
  )
})

test('every other key is read back as it was made', (t) => {
  fc.assert(
    fc.property(topic, fc.nat(2 ** 32 - 1), position, dueMs, (name, queueId, at, minute) => {
      t.deepEqual(parseQueueKey(queueKey(name, queueId)), { topic: name, queueId })
      t.deepEqual(parseFactKey(factKey('kind', name)), { kind: 'kind', key: name })
      t.is(parseRunKey(runKey(at)), at)
      t.is(parseMinuteKey(minuteKey(minute)), minute)
    }),
  )
})

test('a prefix holds all keys of its kind and no other', (t) => {
  const [from, to] = prefixRange('Q')
  for (const key of [queueKey('a', 0), queueKey('\u{10ffff}', 2 ** 32 - 1)]) {
    t.true(from.compare(key) <= 0 && key.compare(to) < 0)
  }
  for (const key of [factKey('a', 'b'), runKey(1), Buffer.from('R')]) {
    t.false(from.compare(key) <= 0 && key.compare(to) < 0)
  }
})

const FILES = [/^000003\.log$/, /^CURRENT$/, /^LOCK$/, /^LOG$/, /^MANIFEST-000002$/]

/** Takes the lock and lets it go. @returns the directory's files while it was held */
async function takeLock(t: ExecutionContext, directory: string): Promise<string[]> {
  const log = new LogLines()
  const unlock = await lockByKernel(directory, log)
  t.deepEqual(log.events(), [])
  const names = await readdir(directory)
  await unlock!()
  return names.sort()
}

test('taking the lock removes nothing of what it is just opening', async (t) => {
  const directory = join(await tempDir(t), 'lock')
  for (let i = 0; i < 100; i++) {
    const names = await takeLock(t, directory)
    t.is(names.length, FILES.length, names.join())
    for (const [n, pattern] of FILES.entries()) t.regex(names[n]!, pattern)
  }
})

test('the lock is taken whatever has become of its files', async (t) => {
  const directory = join(await tempDir(t), 'lock')
  for (const name of await takeLock(t, directory)) {
    await writeFile(join(directory, name), 'rotten')
    t.is((await takeLock(t, directory)).length, FILES.length)
  }
})

test("what is not the lock's own stays where it is", async (t) => {
  const directory = join(await tempDir(t), 'lock')
  await mkdir(join(directory, 'folder'), { recursive: true })
  await writeFile(join(directory, 'note.txt'), 'keep')
  const names = await takeLock(t, directory)
  t.true(names.includes('folder'))
  t.true(names.includes('note.txt'))
})

test('where no lock can be had it is said, and nothing is refused', async (t) => {
  const path = join(await tempDir(t), 'lock')
  await writeFile(path, 'a file where a directory is due')
  const log = new LogLines()
  const unlock = await lockByKernel(path, log)
  t.deepEqual(log.events(), ['lock.not_taken'])
  await unlock!()
})

const bytes = (...values: number[]): Buffer => Buffer.from(values)

test('a store in memory takes batches whole, and its pairs come in the order of their bytes', async (t) => {
  const store = new MemoryKeyValue(1e6)
  const batch = store.batch()
  for (const key of [200, 3, 127, 128]) batch.put(bytes(1, key), bytes(key))
  t.is(store.get(bytes(1, 3)), undefined)
  await batch.write(true)
  t.deepEqual(store.get(bytes(1, 3)), bytes(3))
  const scanned = await store.scan(bytes(1, 4), bytes(1, 255), 2)
  t.deepEqual(scanned, [
    [bytes(1, 127), bytes(127)],
    [bytes(1, 128), bytes(128)],
  ])
  await store.clear(bytes(1, 100), bytes(1, 200))
  t.deepEqual(
    (await store.scan(bytes(0), bytes(2), 10)).map(([key]) => key[1]),
    [3, 200],
  )
})

test('what is put in memory is copied, and a later change of the same key holds', async (t) => {
  const store = new MemoryKeyValue(1e6)
  const value = bytes(1)
  const batch = store.batch()
  batch.put(bytes(5), value)
  value[0] = 2
  batch.delete(bytes(5))
  batch.put(bytes(5), bytes(7))
  await batch.write(false)
  t.deepEqual(store.get(bytes(5)), bytes(7))
})

test('a store in memory refuses more than its bytes', async (t) => {
  const store = new MemoryKeyValue(1000)
  const batch = store.batch()
  batch.put(bytes(1), Buffer.alloc(1001))
  await t.throwsAsync(batch.write(true), { instanceOf: MemoryFull, message: /1000 bytes/ })
})

const few = fc.nat(40)
const step = fc.oneof(
  fc.record({ does: fc.constant('add' as const), first: few, second: fc.nat(60) }),
  fc.record({ does: fc.constant('delete' as const), first: few, second: fc.nat(60) }),
  fc.record({ does: fc.constant('cut' as const), first: few, second: fc.constant(0) }),
)

const listOf = (pairs: SortedPairs, from = -1, fromSecond = -1): [number, number][] => {
  const list: [number, number][] = []
  pairs.everyFrom(from, fromSecond, (first, second) => {
    list.push([first, second])
    return true
  })
  return list
}

test('pairs stay sorted and single, whatever is added, deleted and cut', (t) => {
  const steps = fc.array(fc.record({ times: fc.constant(0), step }), {
    maxLength: 2000,
    size: 'max',
  })
  fc.assert(
    fc.property(steps, (all) => {
      const pairs = new SortedPairs()
      let model: [number, number][] = []
      for (const { step: one } of all) {
        const { does, first, second } = one
        const isThere = model.some(([a, b]) => a === first && b === second)
        if (does === 'add') {
          t.is(pairs.add(first, second), !isThere)
          if (!isThere) model.push([first, second])
        } else if (does === 'delete') {
          t.is(pairs.delete(first, second), isThere)
          model = model.filter(([a, b]) => a !== first || b !== second)
        } else if (first > 30) {
          pairs.cutFrom(first)
          model = model.filter(([a]) => a < first)
        }
      }
      model.sort(([a, b], [c, d]) => a - c || b - d)
      t.deepEqual(listOf(pairs), model)
      t.is(pairs.size, model.length)
      t.is(pairs.min, model[0]?.[0])
      for (const [a, b] of model) t.true(pairs.has(a, b))
      const { first, second } = all.at(-1)?.step ?? { first: 0, second: 0 }
      const isBehind = ([a, b]: [number, number]): boolean =>
        a > first || (a === first && b >= second)
      t.deepEqual(listOf(pairs, first, second), model.filter(isBehind))
    }),
    { numRuns: 25 },
  )
})

test('more pairs than a chunk holds, in order, in reverse and at random', (t) => {
  const count = 5000
  const orders = [(i: number) => i, (i: number) => count - i, (i: number) => (i * 7919) % 5003]
  for (const order of orders) {
    const pairs = new SortedPairs()
    for (let i = 0; i < count; i++) pairs.add(order(i), i)
    const list = listOf(pairs)
    t.is(list.length, count)
    for (let i = 1; i < count; i++) t.true(list[i - 1]![0] <= list[i]![0])
  }
})

test('pairs that come after all others are taken over as they are', (t) => {
  const pairs = new SortedPairs()
  const later = new SortedPairs()
  for (let i = 0; i < 1000; i++) pairs.add(i, 0)
  for (let i = 0; i < 1000; i++) later.add(1000 + i, 0)
  pairs.append(new SortedPairs())
  pairs.append(later)
  pairs.add(999, 1)
  t.is(pairs.size, 2001)
  t.deepEqual(
    listOf(pairs).map(([first]) => first),
    [
      ...Array.from({ length: 1000 }, (_, i) => i),
      999,
      ...Array.from({ length: 1000 }, (_, i) => 1000 + i),
    ],
  )
})

const T = 1_700_000_000_000

function timesOf(...stored: number[]): StoreTimes {
  const times = new StoreTimes()
  for (const [position, ms] of stored.entries()) times.note(position, ms)
  return times
}

test('times that rise are one run, and are believed', (t) => {
  const times = timesOf(T, T, T + 5)
  t.deepEqual(times.runs, [{ from: 0, firstMs: T, lastMs: T + 5 }])
  t.is(times.believedAt(T + 9).at(1, T), T)
})

test('a run that ends ahead of the present was over when the next one began', (t) => {
  const believed = timesOf(T, T + 900, T + 2, T + 3).believedAt(T + 9)
  t.is(believed.at(0, T), T)
  t.is(believed.at(1, T + 900), T + 2)
  t.is(believed.at(3, T + 3), T + 3)
})

test('the newest run cannot be ahead of the present', (t) => {
  t.is(
    timesOf(T, T + 900)
      .believedAt(T + 9)
      .at(1, T + 900),
    T + 9,
  )
})

test('a row of runs that are ahead has the time of the first that is not', (t) => {
  const believed = timesOf(T, T + 900, T + 800, T + 1).believedAt(T + 9)
  t.is(believed.at(1, T + 900), T + 1)
  t.is(believed.at(2, T + 800), T + 1)
})

test('what no clock stood for has the time of the first record with one', (t) => {
  const believed = timesOf(5, 6, T, T + 1).believedAt(T + 9)
  t.is(believed.at(0, 5), T)
  t.true(believed.isUnset(0))
  t.false(believed.isUnset(1))
})

test('while no clock stands, what it says now tells nothing', (t) => {
  const believed = timesOf(T, 5).believedAt(9)
  t.is(believed.at(0, T), T)
  t.is(believed.at(1, 5), undefined)
  t.true(believed.mayHold(1, T + 99))
})

test('the newest of a stretch is looked for in all of its runs', (t) => {
  const believed = timesOf(T, T + 90, T + 2, T + 3, T + 4).believedAt(T + 100)
  t.is(believed.newestIn(0, 1, T + 90), T + 90)
  t.is(believed.newestIn(0, 4, T + 4), T + 90)
  t.is(believed.newestIn(2, 4, T + 4), T + 4)
})

test('an older run is looked at only when it may hold the time', (t) => {
  const believed = timesOf(T, T + 90, T + 2).believedAt(T + 100)
  t.true(believed.mayHoldBefore(2, T + 50))
  t.false(believed.mayHoldBefore(2, T + 91))
  t.false(believed.mayHoldBefore(1, T))
})

test('of many runs the two oldest become one, and trimmed ones go', (t) => {
  const times = new StoreTimes()
  for (let i = 0; i < 300; i++) times.note(i, T - i)
  t.is(times.runs.length, 256)
  t.like(times.runs[0], { from: 0, lastMs: T })
  times.trimBefore(299)
  t.deepEqual(times.runs, [{ from: 299, firstMs: T - 299, lastMs: T - 299 }])
})

test('views that know no runs take the time of a record for what it is, up to the first run', (t) => {
  const times = new StoreTimes()
  times.restore(undefined)
  times.note(7, T)
  const believed = times.believedAt(T + 9)
  t.is(believed.at(3, T - 5), T - 5)
  t.true(believed.mayHold(0, T - 5))
})
