import test from 'ava'
import fc from 'fast-check'
import { DueIndex, dueTime } from '../../src/store/views/due-index.ts'
import { dueKey } from '../../src/store/views/keys.ts'
import { SealedKeyValue, ViewsDamaged } from '../../src/store/views/sealed.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { MemoryPlace } from '../support/memory-key-value.ts'
import { overridden } from '../support/overridden.ts'
import { Random } from '../support/random.ts'

const NOW_MS = 1_700_000_000_000
const MINUTE_MS = 60_000
/** So few that most minutes are far. */
const NEAR_PAIRS = 8

async function stored(): Promise<SealedKeyValue> {
  const place = new MemoryPlace({ random: new Random(1) })
  return new SealedKeyValue((await place.open('1', true))!)
}

async function save(index: DueIndex, kept: SealedKeyValue): Promise<void> {
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
        } else if (does === 'save') await save(index, kept)
        else if (does === 'time') {
          clock.advance(ms)
          const loading = index.loadAhead()
          // Something comes in while a minute is being loaded.
          model.set(position, clock.now() + ms)
          index.add(clock.now() + ms, position)
          await loading
        } else if (does === 'reopen') {
          await save(index, kept)
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
  await save(index, kept)
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
  await save(index, kept)
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
