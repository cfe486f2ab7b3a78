import test from 'ava'
import fc from 'fast-check'
import { encodeProperties } from '../../../src/model/properties.ts'
import { writeRecord } from '../../../src/model/record.ts'
import { NO_TAG_HASH, tagHash } from '../../../src/model/tag-filter.ts'
import { BlockCache } from '../../../src/store/views/block-cache.ts'
import {
  BLOCK_ENTRIES,
  type BlockStore,
  ConsumeQueue,
  ENTRY_BYTES,
  type EntryBlock,
  entryCheck,
  entrySize,
  entryTagHash,
} from '../../../src/store/views/consume-queue.ts'
import { DueIndex, dueTime } from '../../../src/store/views/due-index.ts'
import { IdHasher, KeyIndex, keyHash } from '../../../src/store/views/key-index.ts'
import { bucketKey, dueKey } from '../../../src/store/views/keys.ts'
import { liveBlocks } from '../../../src/store/views/live-blocks.ts'
import { SEAL_BYTES, SealedKeyValue, ViewsDamaged } from '../../../src/store/views/pairs/sealed.ts'
import { RecordScan, recordCheck } from '../../../src/store/views/record-scan.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { overridden } from '../../support/overridden.ts'
import { Random } from '../../support/random.ts'
import { MemoryPlace } from '../../support/simulation/memory-key-value.ts'

/** Keeps saved blocks in a Map, and a few more in memory. */
class MapStore implements BlockStore {
  readonly saved = new Map<number, Buffer>()
  readonly errors: unknown[] = []
  readonly #cache: BlockCache

  constructor(blocksMax = 2) {
    this.#cache = new BlockCache(blocksMax, (block) => !block.isDirty && block.queue.evict(block))
  }

  load(_queue: ConsumeQueue, block: number, count: number): Buffer {
    const value = this.saved.get(block)
    if (value?.length !== SEAL_BYTES + count * ENTRY_BYTES) throw new ViewsDamaged(`block ${block}`)
    return Buffer.from(value)
  }
  room(): Buffer {
    return this.#cache.room()
  }
  opened(block: EntryBlock): void {
    this.#cache.add(block)
  }
  changed(): void {}
  damaged(error: unknown): void {
    this.errors.push(error)
  }

  save(queue: ConsumeQueue): void {
    for (const block of queue.dirtyBlocks()) {
      const bytes = block.bytes.subarray(0, SEAL_BYTES + block.count * ENTRY_BYTES)
      this.saved.set(block.number, Buffer.from(bytes))
      block.isDirty = false
    }
    queue.isDirty = false
    this.#cache.trim()
  }
}

const check = (i: number): number => (i * 2_654_435_761) | 0

test('entries of a queue are what was appended, in memory, saved and let go', (t) => {
  const runs = fc.array(fc.nat(100), { minLength: 1, maxLength: 20 })
  const inMemory = fc.integer({ min: 1, max: 12 })
  fc.assert(
    fc.property(runs, fc.nat(1000), inMemory, (counts, start, blocksMax) => {
      const store = new MapStore(blocksMax)
      const queue = new ConsumeQueue('T', 0, 1, store)
      queue.reset(start)
      for (const count of counts) {
        for (let i = 0; i < count; i++) {
          const offset = queue.next
          queue.append(offset * 1000, offset + 1, -offset, check(offset))
        }
        store.save(queue)
      }
      for (let offset = start; offset < queue.next; offset++) {
        const block = queue.block(queue.blockOf(offset))
        const slot = offset % BLOCK_ENTRIES
        t.is(queue.positionOf(offset), offset * 1000)
        t.is(entrySize(block, slot), offset + 1)
        t.is(entryTagHash(block, slot), -offset | 0)
        t.is(entryCheck(block, slot), check(offset))
        t.is(queue.offsetAt(offset * 1000), offset)
        t.is(queue.offsetAt(offset * 1000 - 1), offset)
      }
      t.is(queue.offsetAt(queue.next * 1000), queue.next)
      t.deepEqual(store.errors, [])
    }),
    { numRuns: 50 },
  )
})

test('a renumbered queue holds the same entries under other offsets', (t) => {
  const queue = new ConsumeQueue('T', 0, 1, new MapStore())
  for (let i = 0; i < 50; i++) queue.append(i * 10, 1, 0, 0)
  queue.renumber(50, 1050)
  t.is(queue.min, 1000)
  t.is(queue.next, 1050)
  t.is(queue.positionOf(1007), 70)
  queue.append(500, 1, 0, 0)
  t.is(queue.positionOf(1050), 500)
})

test('a block that shrank or vanished is damage', (t) => {
  const store = new MapStore()
  const queue = new ConsumeQueue('T', 0, 1, store)
  for (let i = 0; i < 200; i++) queue.append(i, 1, 0, 0)
  store.save(queue)
  store.saved.set(0, store.saved.get(0)!.subarray(0, SEAL_BYTES + 31 * ENTRY_BYTES))
  store.saved.delete(1)
  t.throws(() => queue.positionOf(3), { instanceOf: ViewsDamaged })
  t.throws(() => queue.positionOf(40), { instanceOf: ViewsDamaged })
  t.is(queue.positionOf(70), 70)
})

test('a live queue keeps a bounded number of entries, the newest', (t) => {
  const queue = new ConsumeQueue('T', 0, 0, liveBlocks(4))
  for (let i = 0; i < 1000; i++) queue.append(i, 1, 0, 0)
  t.is(queue.next, 1000)
  t.true(queue.min > 800)
  for (let offset = queue.min; offset < 1000; offset++) t.is(queue.positionOf(offset), offset)
})

test('live queues share the bound: a quiet one loses to one that is not', (t) => {
  const store = liveBlocks(4)
  const quiet = new ConsumeQueue('quiet', 0, 0, store)
  const busy = new ConsumeQueue('busy', 0, 0, store)
  quiet.append(1, 1, 0, 0)
  for (let i = 0; i < 1000; i++) busy.append(i, 1, 0, 0)
  t.is(quiet.min, 1)
  quiet.append(2, 1, 0, 0)
  t.is(quiet.positionOf(1), 2)
})

const RUN = 65_536
const RECORD_BYTES = 200

async function stored(): Promise<SealedKeyValue> {
  const place = new MemoryPlace({ random: new Random(1) })
  return new SealedKeyValue((await place.open('1', true))!)
}

async function saveKeys(index: KeyIndex, kept: SealedKeyValue, logStart = 0): Promise<void> {
  const batch = kept.batch()
  index.save(batch, logStart)
  await batch.write(false)
  index.saved()
}

const hashOf = (i: number): number => {
  const bytes = Buffer.from(`key ${i % 1000}`)
  return keyHash(bytes, 0, bytes.length, 7)
}

test('Ids that come one after the other have the hashes that each has alone', (t) => {
  const head = fc.constantFrom('0A', '0B').map((start) => start.padEnd(28, '7'))
  const id = fc.tuple(head, fc.constantFrom('', '000', '0001', '0002', '00010'))
  const next = fc.record({ id, at: fc.nat(5), seed: fc.constantFrom(0, 7) })
  fc.assert(
    fc.property(fc.array(next), (all) => {
      const ids = new IdHasher()
      for (const { id, at, seed } of all) {
        const bytes = Buffer.from(`${' '.repeat(at)}${id.join('')}`)
        const expected = keyHash(bytes, at, bytes.length, seed)
        t.is(ids.hash(bytes, at, bytes.length, seed), expected)
      }
    }),
  )
})

const fill = (index: KeyIndex, count: number): void => {
  for (let i = 0; i < count; i++) index.add(hashOf(i), i * RECORD_BYTES)
}

/** Without the places to let others run. */
const positionsOf = (search: Iterable<number | undefined>): number[] =>
  [...search].filter((position) => position !== undefined)

/** Positions of key `k`, newest first. */
const expected = (k: number, count: number, from = 0): number[] =>
  Array.from({ length: count }, (_, i) => i)
    .filter((i) => i % 1000 === k && i >= from)
    .map((i) => i * RECORD_BYTES)
    .reverse()

test('every position of a key is found, newest first, in memory, under way and stored', async (t) => {
  const kept = await stored()
  const index = new KeyIndex(kept)
  const count = 2 * RUN + 1000
  fill(index, count)
  for (const k of [0, 7, 999])
    t.deepEqual(positionsOf(index.candidates(hashOf(k))), expected(k, count))
  const batch = kept.batch()
  index.save(batch, 0)
  t.deepEqual(positionsOf(index.candidates(hashOf(7))), expected(7, count))
  await batch.write(false)
  index.saved()
  t.deepEqual(positionsOf(index.candidates(hashOf(7))), expected(7, count))
  t.deepEqual(positionsOf(index.candidates(12_345)), [])
  const again = new KeyIndex(kept)
  await again.load()
  t.deepEqual(positionsOf(again.candidates(hashOf(7))), expected(7, 2 * RUN))
  t.true(again.tally.equals(index.tally.state))
})

test('what the stored runs lack is said, so that replay can bring it', async (t) => {
  const kept = await stored()
  const index = new KeyIndex(kept)
  t.is(index.keptTo(500), 500)
  fill(index, RUN + 10)
  t.is(index.keptTo((RUN + 10) * RECORD_BYTES), RUN * RECORD_BYTES)
  await saveKeys(index, kept)
})

test('a run of keys covers a bounded stretch of the log', async (t) => {
  const index = new KeyIndex(await stored())
  const far = 65 * 1024 * 1024
  index.add(1, 0)
  index.add(1, far)
  t.is(index.keptTo(far + 1), far)
  t.deepEqual(positionsOf(index.candidates(1)), [far, 0])
})

test('runs of keys that the log has no more are forgotten', async (t) => {
  const kept = await stored()
  const index = new KeyIndex(kept)
  fill(index, 2 * RUN + 1)
  await saveKeys(index, kept)
  await saveKeys(index, kept, RUN * RECORD_BYTES)
  t.deepEqual(positionsOf(index.candidates(hashOf(7))), expected(7, 2 * RUN, RUN))
  t.is(kept.get(bucketKey(0, 0)), undefined)
})

test('a missing bucket is damage, not an empty answer', async (t) => {
  const kept = await stored()
  const index = new KeyIndex(kept)
  fill(index, RUN + 1)
  await saveKeys(index, kept)
  await kept.clear(bucketKey(0, 0), bucketKey(0, 255))
  t.throws(() => positionsOf(index.candidates(hashOf(7))), { instanceOf: ViewsDamaged })
})

test('runs that end before the place behind which is searched are not read', async (t) => {
  const kept = await stored()
  const index = new KeyIndex(kept)
  fill(index, 2 * RUN + 1)
  await saveKeys(index, kept)
  await kept.clear(bucketKey(0, 0), bucketKey(0, 255))
  const after = (RUN + 10) * RECORD_BYTES
  const found = positionsOf(index.candidates(hashOf(7), after))
  t.deepEqual(found, expected(7, 2 * RUN, RUN + 11))
})

test('a search brings each position once, though runs move to the views during it', async (t) => {
  const kept = await stored()
  const index = new KeyIndex(kept)
  fill(index, RUN)
  const search = index.candidates(hashOf(7))
  const found = [search.next().value]
  for (let i = RUN; i <= RUN + 1000; i++) index.add(hashOf(i), i * RECORD_BYTES)
  await saveKeys(index, kept)
  t.deepEqual([...found, ...positionsOf(search)], expected(7, RUN))
})

test('a search that retention overtakes goes on with what is left, and calls nothing damaged', async (t) => {
  const kept = await stored()
  const index = new KeyIndex(kept)
  fill(index, 3 * RUN + 10)
  await saveKeys(index, kept)
  const search = index.candidates(hashOf(7))
  const found = [search.next().value]
  await saveKeys(index, kept, 2 * RUN * RECORD_BYTES)
  t.deepEqual([...found, ...positionsOf(search)], expected(7, 3 * RUN + 10, 2 * RUN))
})

test('a search over many runs lets others run after each', async (t) => {
  const kept = await stored()
  const index = new KeyIndex(kept)
  for (let run = 0; run < 5; run++) index.add(1, run * 65 * 1024 * 1024)
  await saveKeys(index, kept)
  const steps = [...index.candidates(2)]
  t.deepEqual(steps, Array(4).fill(undefined))
})

const NOW_MS = 1_700_000_000_000
const MINUTE_MS = 60_000
/** So few that most minutes are far. */
const NEAR_PAIRS = 8

async function saveDue(index: DueIndex, kept: SealedKeyValue): Promise<void> {
  const batch = kept.batch()
  index.save(batch)
  await batch.write(false)
  index.saved()
}

const step = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({ does: fc.constant('add' as const), ms: fc.nat(40 * MINUTE_MS) }),
  },
  { weight: 3, arbitrary: fc.record({ does: fc.constant('remove' as const), ms: fc.nat() }) },
  { weight: 2, arbitrary: fc.record({ does: fc.constant('save' as const), ms: fc.constant(0) }) },
  {
    weight: 2,
    arbitrary: fc.record({ does: fc.constant('time' as const), ms: fc.nat(5 * MINUTE_MS) }),
  },
  { weight: 1, arbitrary: fc.record({ does: fc.constant('reopen' as const), ms: fc.constant(0) }) },
)

test('what is due is what a plain list says, near or far, saved or not', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 80 }), async (steps) => {
      const clock = new FakeClock(NOW_MS)
      const kept = await stored()
      let index = new DueIndex(kept, clock, NEAR_PAIRS)
      const model = new Map<number, number>()
      for (const [position, { does, ms }] of steps.entries()) {
        if (does === 'add') {
          model.set(position, clock.now() + ms)
          index.add(clock.now() + ms, position)
        } else if (does === 'remove' && model.size > 0) {
          const [at, dueMs] = [...model][ms % model.size]!
          t.true(index.has(dueMs, at))
          index.remove(dueMs, at)
          t.false(index.has(dueMs, at))
          index.remove(dueMs, at)
          model.delete(at)
        } else if (does === 'save') await saveDue(index, kept)
        else if (does === 'time') {
          clock.advance(ms)
          const loading = index.loadAhead()
          // Something comes in while a minute is being loaded.
          model.set(position, clock.now() + ms)
          index.add(clock.now() + ms, position)
          await loading
        } else if (does === 'reopen') {
          await saveDue(index, kept)
          index = new DueIndex(kept, clock, NEAR_PAIRS)
          await index.load()
          await index.loadAhead()
        }
        t.is(index.size, model.size)
      }
      await index.loadAhead()
      const untilMs = clock.now() + MINUTE_MS
      const due = index.due(untilMs, 1000).map(({ dueMs, position }) => [dueMs, Number(position)])
      const expected = [...model].map(([position, dueMs]) => [dueMs, position])
      expected.sort(([a, b], [c, d]) => a! - c! || b! - d!)
      t.deepEqual(
        due,
        expected.filter(([dueMs]) => dueMs! <= untilMs),
      )
      const [first] = expected
      const next = index.nextDueMs
      t.is(next === undefined, first === undefined)
      if (first !== undefined) t.true(next! <= first[0]!)
    }),
    { numRuns: 150 },
  )
})

test('a jump of the clock over far minutes is noticed and caught up', async (t) => {
  const clock = new FakeClock(NOW_MS)
  const kept = await stored()
  const index = new DueIndex(kept, clock, NEAR_PAIRS)
  for (let i = 0; i < 100; i++) index.add(NOW_MS + i * MINUTE_MS, i)
  await saveDue(index, kept)
  clock.jump(50 * MINUTE_MS)
  t.true(index.wantsLoad)
  await index.loadAhead()
  t.is(index.due(clock.now(), 1000).length, 51)
})

test('where all are due soon, one more does not make it look through all minutes again', async (t) => {
  let looks = 0
  const clock = overridden(new FakeClock(NOW_MS), {
    now: () => {
      looks++
      return NOW_MS
    },
  })
  const index = new DueIndex(await stored(), clock, NEAR_PAIRS)
  for (let i = 0; i < 1000; i++) index.add(NOW_MS + i, i)
  t.true(looks < 100, `${looks} looks`)
  t.is(index.due(NOW_MS + 1000, 2000).length, 1000)
})

test('a far pair that vanished from the views is damage, not silence', async (t) => {
  const clock = new FakeClock(NOW_MS)
  const kept = await stored()
  const index = new DueIndex(kept, clock, NEAR_PAIRS)
  for (let i = 0; i < 100; i++) index.add(NOW_MS + i * MINUTE_MS, i)
  await saveDue(index, kept)
  const from = dueKey(NOW_MS + 60 * MINUTE_MS, 0)
  await kept.clear(from, dueKey(NOW_MS + 61 * MINUTE_MS, 0))
  clock.jump(70 * MINUTE_MS)
  await t.throwsAsync(index.loadAhead(), { instanceOf: ViewsDamaged })
})

test('a due time that is none is the beginning or the end of time', (t) => {
  t.is(dueTime(Number.NaN), 0)
  t.is(dueTime(-5), 0)
  t.is(dueTime(12.9), 12)
  t.is(dueTime(Number.POSITIVE_INFINITY), 2 ** 48 - 1)
})

const HOST = { ip: 1, port: 1 }
const MARGIN = 3

/** The record with some strange bytes around it. */
function recordOf(topic: string, body: Uint8Array, properties: Uint8Array) {
  const bytes = Buffer.alloc(40_000, 2)
  const size = writeRecord(
    bytes,
    MARGIN,
    {
      ...{ topic, queueId: 1, flag: 2, sysFlag: 0, bornTimestamp: 2, bornHost: HOST },
      ...{ reconsumeTimes: 2, preparedPosition: 0, body, properties },
    },
    { queueOffset: 2, position: 2, storeTimestamp: 2, storeHost: HOST },
  )
  return { bytes, size }
}

const name = fc.oneof(
  fc.constantFrom('TAGS', 'KEYS', 'UNIQ_KEY', 'TAG', 'TAGSX', 'KEY', 'UNIQ_KEYS', 'CLUSTER'),
  fc.string({ minLength: 1, maxLength: 9 }),
)
const value = fc.oneof(fc.string({ maxLength: 12 }), fc.string({ unit: 'grapheme', maxLength: 6 }))

test('The scan of a record finds tag, keys, unique key and check, however they lie in its words', (t) => {
  const scan = new RecordScan()
  fc.assert(
    fc.property(
      fc.array(fc.tuple(name, value), { maxLength: 8 }),
      fc.stringMatching(/^[a-z]{1,20}$/),
      fc.uint8Array({ maxLength: 20 }),
      fc.boolean(),
      (pairs, topic, body, isClosed) => {
        const closed = encodeProperties(pairs)
        const properties = isClosed ? closed : closed.subarray(0, Math.max(0, closed.length - 1))
        const { bytes, size } = recordOf(topic, body, properties)
        scan.scan(bytes, MARGIN, size)
        const first = firstOf(properties)
        const tag = first.get('TAGS')
        t.is(scan.tagHash, tag === undefined ? NO_TAG_HASH : tagHash(tag))
        t.is(bytes.toString('latin1', scan.topicStart, scan.topicEnd), topic)
        t.is(bytes.toString('utf8', scan.keysStart, scan.keysEnd), first.get('KEYS') ?? '')
        t.is(
          bytes.toString('utf8', scan.uniqueKeyStart, scan.uniqueKeyEnd),
          first.get('UNIQ_KEY') ?? '',
        )
        t.is(scan.check, recordCheck(bytes, MARGIN, size))
      },
    ),
    { numRuns: 2000 },
  )
})

test('Every flipped bit of header, topic and properties changes the check', (t) => {
  const properties = encodeProperties([
    ['TAGS', 'a'],
    ['KEYS', 'k1 k2'],
  ])
  const { bytes, size } = recordOf('orders', Buffer.alloc(0), properties)
  const check = recordCheck(bytes, MARGIN, size)
  const scan = new RecordScan()
  // The length of the body says where the rest is, and is checked by the code that cuts records
  // apart.
  for (let at = MARGIN; at < MARGIN + size; at++) {
    if (at >= MARGIN + 84 && at < MARGIN + 89) continue
    for (let bit = 0; bit < 8; bit++) {
      bytes[at]! ^= 1 << bit
      scan.scan(bytes, MARGIN, size)
      t.not(scan.check, check, `bit ${bit} of byte ${at - MARGIN}`)
      bytes[at]! ^= 1 << bit
    }
  }
})

/** The first value of each name; an empty one is none. */
function firstOf(properties: Uint8Array): Map<string, string> {
  const first = new Map<string, string>()
  const text = Buffer.from(properties).toString('utf8')
  for (const property of text.split('\u0002')) {
    const at = property.indexOf('\u0001')
    const hasValue = at > 0 && at < property.length - 1
    if (hasValue && !first.has(property.slice(0, at))) {
      first.set(property.slice(0, at), property.slice(at + 1))
    }
  }
  return first
}
