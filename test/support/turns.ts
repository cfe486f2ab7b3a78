// Turns of the event loop, for tests of what is to leave others theirs.
import type { ExecutionContext } from 'ava'
import type { FakeClock } from './fake-clock.ts'

/** Counts turns until the test is over. */
export function countTurns(t: ExecutionContext): () => number {
  let turn = 0
  let isOver = false
  const count = (): void => {
    turn++
    if (!isOver) setImmediate(count)
  }
  count()
  t.teardown(() => {
    isOver = true
  })
  return () => turn
}

/**
 * From now on every look at the clock finds the slice over. Answers in which turns there was one.
 */
export function endSlicesAtOnce(t: ExecutionContext, clock: FakeClock): () => ReadonlySet<number> {
  const turn = countTurns(t)
  const looks: number[] = []
  clock.monotonic = () => looks.push(turn()) * 1000
  return () => new Set(looks)
}
