import test from 'ava'
import fc from 'fast-check'
import { Lanes } from '../../src/client/consume/lanes.ts'
import { QueueWindow } from '../../src/client/consume/queue-window.ts'

/** Tasks that end when the test says so. */
function recorder() {
  const started: string[] = []
  const ends = new Map<string, () => void>()
  const task = (name: string) => () =>
    new Promise<void>((resolve) => {
      started.push(name)
      ends.set(name, resolve)
    })
  const end = async (name: string): Promise<void> => {
    ends.get(name)!()
    await new Promise((resolve) => setImmediate(resolve))
  }
  return { started, task, end }
}

test('no more tasks run than the concurrency allows', async (t) => {
  const { started, task, end } = recorder()
  const lanes = new Lanes(2)
  for (const name of ['a', 'b', 'c']) lanes.add(undefined, task(name))
  t.deepEqual(started, ['a', 'b'])
  await end('b')
  t.deepEqual(started, ['a', 'b', 'c'])
})

test('tasks of one lane run one after the other, others go past them', async (t) => {
  const { started, task, end } = recorder()
  const lanes = new Lanes(8)
  lanes.add('k', task('k1'))
  lanes.add('k', task('k2'))
  lanes.add('other', task('o1'))
  t.deepEqual(started, ['k1', 'o1'])
  await end('k1')
  t.deepEqual(started, ['k1', 'o1', 'k2'])
})

test('idle settles when the last task has ended', async (t) => {
  const { task, end } = recorder()
  const lanes = new Lanes(1)
  lanes.add('k', task('a'))
  lanes.add('k', task('b'))
  let idle = false
  const settled = lanes.idle().then(() => {
    idle = true
  })
  await end('a')
  t.false(idle)
  await end('b')
  await settled
  t.is(lanes.pending, 0)
})

test('cleared tasks never start, running ones end', async (t) => {
  const { started, task, end } = recorder()
  const lanes = new Lanes(1)
  for (const name of ['a', 'b', 'c']) lanes.add('k', task(name))
  t.is(lanes.clear(), 2)
  const idle = lanes.idle()
  await end('a')
  await idle
  t.deepEqual(started, ['a'])
})

test('whatever the durations, every task runs once and each lane keeps its order', async (t) => {
  const tasks = fc.array(fc.record({ lane: fc.nat({ max: 4 }), turns: fc.nat({ max: 3 }) }), {
    maxLength: 60,
  })
  await fc.assert(
    fc.asyncProperty(tasks, fc.integer({ min: 1, max: 6 }), async (all, concurrency) => {
      const lanes = new Lanes(concurrency)
      const done: number[] = []
      let running = 0
      let most = 0
      for (const [i, { lane, turns }] of all.entries()) {
        lanes.add(lane === 0 ? undefined : String(lane), async () => {
          most = Math.max(most, ++running)
          for (let n = 0; n < turns; n++) await Promise.resolve()
          running--
          done.push(i)
        })
      }
      await lanes.idle()
      const inOrder = [1, 2, 3, 4].every((lane) => {
        const order = done.filter((i) => all[i]!.lane === lane)
        return order.every((i, at) => at === 0 || order[at - 1]! < i)
      })
      return inOrder && most <= concurrency && done.length === all.length
    }),
  )
  t.pass()
})

test('nothing is committed beyond the oldest unsettled message', (t) => {
  const window = new QueueWindow(10)
  for (const offset of [10, 11, 12]) window.add(offset)
  window.settle(11)
  window.settle(12)
  t.is(window.committable, 10)
  window.settle(10)
  t.is(window.committable, 13)
})

test('what did not match the filter is committed with the rest', (t) => {
  const window = new QueueWindow(0)
  window.add(3)
  window.advance(8)
  t.is(window.committable, 3)
  window.settle(3)
  t.is(window.committable, 8)
})

test('a message is settled once', (t) => {
  const window = new QueueWindow(0)
  window.add(0)
  t.true(window.settle(0))
  t.false(window.settle(0))
  t.false(window.settle(1))
})

test('in any order of settling, committable is the smallest unsettled offset', (t) => {
  const gaps = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 3000 })
  fc.assert(
    fc.property(gaps, fc.infiniteStream(fc.nat()), (steps, picks) => {
      const window = new QueueWindow(0)
      const open: number[] = []
      let next = 0
      for (const step of steps) {
        next += step
        window.add(next)
        open.push(next)
        const pick = picks.next().value!
        if (pick % 3 > 0 && open.length > 0) {
          const [offset] = open.splice(pick % open.length, 1)
          window.settle(offset!)
        }
        const due = open.length > 0 ? Math.min(...open) : next + 1
        if (window.committable !== due || window.held !== open.length) return false
      }
      return true
    }),
    { numRuns: 60 },
  )
  t.pass()
})
