// A slice that many pieces of work share.
import test, { type ExecutionContext } from 'ava'
import { SharedSlice, Slice } from '../src/clock.ts'
import { FakeClock } from './support/fake-clock.ts'
import { countTurns, endSlicesAtOnce } from './support/turns.ts'

/** A slice that each look finds over, and the turns of the steps that are done with it. */
function begin(t: ExecutionContext) {
  const clock = new FakeClock()
  endSlicesAtOnce(t, clock)
  const slice = new SharedSlice(clock)
  const turn = countTurns(t)
  const turns: number[] = []
  const steps: string[] = []
  const work = async (name: string, count: number): Promise<void> => {
    for (let i = 0; i < count; i++) {
      if (slice.isOver) await slice.rest()
      turns.push(turn())
      steps.push(name)
    }
  }
  return { work, turns, steps }
}

test('work that shares a slice has one together in each turn', async (t) => {
  const { work, turns } = begin(t)
  const count = 20
  await Promise.all(Array.from({ length: count }, () => work('w', 2)))
  t.is(turns.length, 2 * count)
  t.true(new Set(turns).size >= count, `${new Set(turns).size} turns`)
})

test('what rests goes on in the order in which it came', async (t) => {
  const { work, steps } = begin(t)
  await Promise.all([work('a', 1), work('b', 1), work('c', 1), work('d', 1)])
  t.deepEqual(steps, ['a', 'b', 'c', 'd'])
})

test('work with slices of its own that rests has one slice together in each turn', async (t) => {
  const clock = new FakeClock()
  endSlicesAtOnce(t, clock)
  const turn = countTurns(t)
  const turns = new Set<number>()
  const work = async (): Promise<void> => {
    await new Slice(clock).rest()
    turns.add(turn())
  }
  const count = 20
  await Promise.all(Array.from({ length: count }, work))
  t.is(turns.size, count)
})
