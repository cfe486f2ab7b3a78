import test from 'ava'
import { nextTurn } from '../../src/clock.ts'
import type { Declared } from '../../src/numbers/declared.ts'
import { Histogram } from '../../src/numbers/histogram.ts'
import { Numbers } from '../../src/numbers/numbers.ts'
import { watchProcess } from '../../src/numbers/process.ts'
import { numbersTable } from '../../src/numbers/text.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { numberOf } from '../support/numbers.ts'

const SENT: Declared<'counter'> = {
  kind: 'counter',
  name: 'test_sent_total',
  help: 'Sent.',
  unit: 'messages',
  labels: { way: ['in', 'out'] },
}
const OPEN: Declared<'gauge'> = {
  kind: 'gauge',
  name: 'test_open',
  help: 'Open.',
  unit: 'links',
  labels: { link: 2 },
}
const TOOK: Declared<'histogram'> = {
  kind: 'histogram',
  name: 'test_took_seconds',
  help: 'Took.',
  unit: 'seconds',
  bounds: [0.1, 1, 10],
}

test('what is looked up within a scope goes with it', async (t) => {
  const numbers = new Numbers()
  numbers.gauge(OPEN, () => 1, { link: 'before' })
  const scope = numbers.scope()
  numbers.gauge(OPEN, () => 2, { link: 'within' })
  t.is(await numberOf(numbers, 'test_open'), 3)
  scope[Symbol.dispose]()
  t.is(await numberOf(numbers, 'test_open'), 1)
})

test('a counter is one for its labels, whichever part asks for it', async (t) => {
  const numbers = new Numbers()
  numbers.counter(SENT, { way: 'in' }).value += 2
  numbers.counter(SENT, { way: 'in' }).value++
  numbers.counter(SENT, { way: 'out' }).value++
  t.is(await numberOf(numbers, 'test_sent_total'), 4)
  t.like(numbersTable(await numbers.read()), { 'test_sent_total{way="in"}': '3' })
})

test('a counter takes no label value that is not declared', (t) => {
  const numbers = new Numbers()
  t.throws(() => numbers.counter(SENT, { way: 'sideways' }), { message: /no way 'sideways'/ })
  t.throws(() => numbers.counter(SENT, { other: 'in' }), { message: /no other 'in'/ })
})

test('two declarations cannot share a name', (t) => {
  const numbers = new Numbers()
  numbers.declare(SENT, SENT)
  t.throws(() => numbers.declare({ ...SENT }), { message: /declared twice/ })
})

test('a gauge is looked up when it is read, until it is disposed', async (t) => {
  const numbers = new Numbers()
  let open = 1
  const shown = numbers.gauge(OPEN, () => open, { link: 'a' })
  t.is(await numberOf(numbers, 'test_open'), 1)
  open = 5
  t.is(await numberOf(numbers, 'test_open'), 5)
  shown[Symbol.dispose]()
  t.is(await numberOf(numbers, 'test_open'), 0)
})

test('of an open label no more values are read than may be', async (t) => {
  const numbers = new Numbers()
  numbers.gauges([OPEN], (set) => {
    for (const link of ['a', 'b', 'c']) set(OPEN, 1, { link })
  })
  t.deepEqual(
    (await numbers.read()).map(({ labels }) => labels),
    [{ link: 'a' }, { link: 'b' }],
  )
})

test('a gauge that cannot be read hides no other number', async (t) => {
  const numbers = new Numbers()
  numbers.gauge(OPEN, () => {
    throw new Error('closed')
  })
  numbers.counter(SENT, { way: 'in' }).value++
  t.is(await numberOf(numbers, 'test_sent_total'), 1)
})

test('a histogram tells its quantiles to the width of a bucket', (t) => {
  const took = new Histogram([0.1, 1, 10])
  t.is(took.quantile(0.99), 0)
  took.observe(0.05, 90)
  took.observe(0.5, 9)
  took.observe(100)
  t.deepEqual(took.counts, [90, 9, 0, 1])
  t.is(took.upTo(1), 99)
  t.true(took.quantile(0.5) <= 0.1)
  const p95 = took.quantile(0.95)
  t.true(p95 > 0.1 && p95 <= 1, `${p95}`)
  t.is(took.quantile(1), 100)
  t.is(took.max, 100)
})

test('no quantile is above the largest value', (t) => {
  const took = new Histogram([0.1, 1, 10])
  took.observe(1.5)
  t.is(took.quantile(0.99), 1 + 0.5 * 0.99)
  t.is(took.quantile(1), 1.5)
})

test('the table has count, sum and quantiles of a histogram, and no quantile of an empty one', async (t) => {
  const numbers = new Numbers()
  numbers.histogram(TOOK)
  t.deepEqual(numbersTable(await numbers.read()), {
    test_took_seconds_count: '0',
    test_took_seconds_sum: '0',
  })
  numbers.histogram(TOOK).observe(2)
  t.like(numbersTable(await numbers.read()), {
    test_took_seconds_sum: '2',
    'test_took_seconds{quantile="1"}': '2',
  })
})

test('the delay of the event loop is how late a timer fires', async (t) => {
  const numbers = new Numbers()
  const clock = new FakeClock()
  const late = { ...clockParts(clock), monotonic: () => clock.monotonic() * 2 }
  const watch = watchProcess(numbers, late)
  clock.advance(500)
  watch.cancel()
  clock.advance(500)
  t.is(await numberOf(numbers, 'trivet_event_loop_delay_seconds_count'), 10)
  t.is(await numberOf(numbers, 'trivet_event_loop_delay_seconds_sum'), 0.5)
})

/** A class's methods are not spread. */
const clockParts = (clock: FakeClock) => ({
  now: () => clock.now(),
  monotonic: () => clock.monotonic(),
  idle: () => clock.idle(),
  events: () => 0,
  after: (ms: number, fn: () => void) => clock.after(ms, fn),
  every: (ms: number, fn: () => void) => clock.every(ms, fn),
})

test('all that ask during a reading share the next one', async (t) => {
  const numbers = new Numbers()
  let looks = 0
  numbers.gauges([], async () => {
    looks++
    await nextTurn()
  })
  const first = numbers.read()
  const asked = Array.from({ length: 100 }, () => numbers.read())
  await Promise.all([first, ...asked])
  t.is(looks, 2)
  await numbers.read()
  t.is(looks, 3)
})
