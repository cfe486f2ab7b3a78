import test from 'ava'
import { TurnBudget } from '../../src/gateway/net/turn-budget.ts'
import { FakeClock } from '../support/fake-clock.ts'

const turnOver = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

test('a turn is spent when handling took its time, and the next one begins anew', async (t) => {
  const clock = new FakeClock()
  const turn = new TurnBudget(clock)
  t.false(turn.isSpent(1))
  clock.advance(19)
  t.false(turn.isSpent(1))
  clock.advance(1)
  t.true(turn.isSpent(1))
  await turnOver()
  t.false(turn.isSpent(1))
})

test('what is kept is handled in order, no more in a turn than it has time for', async (t) => {
  const clock = new FakeClock()
  const turn = new TurnBudget(clock)
  const handled: number[] = []
  turn.isSpent(1)
  for (let i = 0; i < 5; i++) {
    turn.handleLater(1, () => {
      clock.advance(10)
      handled.push(i)
    })
  }
  await turnOver()
  t.deepEqual(handled, [], 'the sockets are looked at first')
  await turnOver()
  t.deepEqual(handled, [0, 1])
  await turnOver()
  t.deepEqual(handled, [0, 1, 2, 3])
  await turnOver()
  t.deepEqual(handled, [0, 1, 2, 3, 4])
})

test('what one that is kept puts in line goes behind those that wait', async (t) => {
  const clock = new FakeClock()
  const turn = new TurnBudget(clock)
  const handled: string[] = []
  turn.handleLater(1, () => {
    clock.advance(20)
    turn.handleLater(1, () => handled.push('added'))
  })
  turn.handleLater(1, () => handled.push('second'))
  while (handled.length < 2) await turnOver()
  t.deepEqual(handled, ['second', 'added'])
})

test('no more is kept than the limit; what comes beyond is handled at once', async (t) => {
  const clock = new FakeClock()
  const turn = new TurnBudget(clock, { keptBytesMax: 10 })
  turn.isSpent(1)
  clock.advance(20)
  t.true(turn.isSpent(10))
  let isHandled = false
  turn.handleLater(10, () => {
    isHandled = true
  })
  t.false(turn.isSpent(1))
  while (!isHandled) await turnOver()
  turn.isSpent(1)
  clock.advance(20)
  t.true(turn.isSpent(10))
})

test('what one goes on with in promises counts before the next one has its turn', async (t) => {
  const clock = new FakeClock()
  const turn = new TurnBudget(clock)
  const handled: number[] = []
  const work = async (i: number): Promise<void> => {
    for (let step = 0; step < 4; step++) await undefined
    clock.advance(20)
    handled.push(i)
  }
  for (let i = 0; i < 3; i++) turn.handleLater(1, () => void work(i))
  await turnOver()
  t.deepEqual(handled, [0])
  await turnOver()
  t.deepEqual(handled, [0, 1])
})

test('where only its own time counts, what others did in the turn keeps nothing', async (t) => {
  const clock = new FakeClock()
  const turn = new TurnBudget(clock, { turnMs: 5, countsOwnOnly: true })
  const callbackOver = (): Promise<void> => new Promise((resolve) => process.nextTick(resolve))
  t.false(turn.isSpent(1))
  clock.advance(4)
  await callbackOver()
  clock.advance(100)
  t.false(turn.isSpent(1))
  clock.advance(1)
  await callbackOver()
  t.true(turn.isSpent(1))
  await turnOver()
  t.false(turn.isSpent(1))
})
