import test from 'ava'
import { RetainedDue } from '../../../src/gateway/mqtt/deliver/retained-due.ts'
import { Session } from '../../../src/gateway/mqtt/session/session.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { subscriptionOf } from '../../support/mqtt-places.ts'

/** A session with these filters, all of which asked. */
function asking(filters: readonly string[]): Session {
  const session = new Session('c')
  for (const filter of filters) {
    session.subscriptions.set(filter, subscriptionOf(filter, []))
    session.retainedDue.set(filter, '')
  }
  return session
}

test('filters that take long to look through leave the turn to others', (t) => {
  const clock = new FakeClock()
  const seen: string[] = []
  const slow = {
    matching: (filter: string) => {
      seen.push(filter)
      clock.advance(10)
      return []
    },
  }
  const due = new RetainedDue(slow, clock, asking(['a', 'b']))
  t.is(due.next(9), undefined)
  t.deepEqual(seen, ['a'])
  t.false(due.isEmpty)
  t.is(due.next(9), undefined)
  t.deepEqual(seen, ['a', 'b'])
  t.true(due.isEmpty)
})

test('names that were asked for anew while they were read are not due', (t) => {
  const retained = { matching: () => ['x', 'y'] }
  const session = asking(['#'])
  const due = new RetainedDue(retained, new FakeClock(), session)
  const before = due.next(9)!
  due.add('#')
  t.false(due.advance(before, 2))
  t.true(due.advance(due.next(9)!, 1))
  t.is(session.retainedDue.get('#'), 'x')
})
