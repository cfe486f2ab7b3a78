import test from 'ava'
import fc from 'fast-check'
import { ConnectionBudget } from '../../src/gateway/net/connection-budget.ts'

const taken = (budget: ConnectionBudget, listener: string): number => {
  let count = 0
  while (budget.take(listener)) count++
  return count
}

test('one listener has what the others leave idle, but for their reserves', (t) => {
  const budget = new ConnectionBudget(20_000, 4)
  t.is(taken(budget, 'mqtt'), 20_000 - 3 * 256)
  t.is(taken(budget, 'amqp'), 256)
  t.is(taken(budget, 'remoting'), 256)
  budget.give('mqtt')
  t.is(taken(budget, 'nameServer'), 257)
})

test('a small budget keeps a small reserve', (t) => {
  const budget = new ConnectionBudget(100, 4)
  t.is(taken(budget, 'mqtt'), 85)
  t.is(taken(budget, 'amqp'), 5)
})

test('never more than the total, and each listener its reserve, whatever comes and goes', (t) => {
  const listeners = ['a', 'b', 'c']
  const step = fc.tuple(fc.constantFrom(...listeners), fc.boolean())
  fc.assert(
    fc.property(fc.array(step, { maxLength: 400 }), (steps) => {
      const budget = new ConnectionBudget(60, 3)
      const open = new Map(listeners.map((name) => [name, 0]))
      for (const [name, isTaking] of steps) {
        const had = open.get(name)!
        if (isTaking) {
          const may = budget.take(name)
          t.true(may || had >= 3)
          if (may) open.set(name, had + 1)
        } else if (had > 0) {
          budget.give(name)
          open.set(name, had - 1)
        }
        t.true([...open.values()].reduce((sum, count) => sum + count, 0) <= 60)
      }
    }),
  )
})
