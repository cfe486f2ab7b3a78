import test from 'ava'
import fc from 'fast-check'
import { QueueWindow } from '../../src/client/consume/queue-window.ts'

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
