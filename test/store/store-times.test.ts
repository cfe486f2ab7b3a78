import test from 'ava'
import { StoreTimes } from '../../src/store/views/store-times.ts'

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
