// The copies that an acknowledgement waits for, until when a lease counts, and how far a copy is
// behind.
import test from 'ava'
import {
  decodeState,
  encodeState,
  firstEpochOf,
} from '../../src/replication/election/group-state.ts'
import { InSyncSet } from '../../src/replication/election/in-sync-set.ts'
import { LeaseTime } from '../../src/replication/election/lease-time.ts'
import { Pace } from '../../src/replication/pace.ts'

test('what every copy in sync has is acknowledged', (t) => {
  const set = new InSyncSet('a', ['a', 'b'], 100)
  t.is(set.confirm('a', 300), 0)
  t.false(set.isReady)
  t.is(set.confirm('b', 100), 100)
  t.true(set.isReady)
  t.is(set.confirm('b', 250), 250)
  t.is(set.confirm('c', 50), 250)
})

test('a copy is waited for before it is added, until it has what was acknowledged without it', (t) => {
  const set = new InSyncSet('a', ['a'], 100)
  set.confirm('a', 300)
  set.confirm('b', 200)
  set.court('b')
  t.is(set.adding(), undefined)
  t.is(set.confirm('a', 400), 300)
  set.confirm('b', 300)
  t.deepEqual(set.adding(), ['a', 'b'])
  t.is(set.confirm('a', 500), 300)
  // The call is under way, and it may be elected.
  set.court(undefined)
  t.is(set.confirm('a', 600), 300)
  t.is(set.keeps(['a', 'b']), 300)
  t.is(set.confirm('b', 450), 450)
})

test('a copy that lacks what masters before may have acknowledged is not added', (t) => {
  const set = new InSyncSet('a', ['a', 'b'], 100)
  set.confirm('c', 90)
  set.court('c')
  t.is(set.adding(), undefined)
  set.confirm('c', 100)
  t.deepEqual(set.adding(), ['a', 'b', 'c'])
})

test('a copy that is not to be added is waited for no more', (t) => {
  const set = new InSyncSet('a', ['a'], 0)
  set.court('b')
  t.is(set.confirm('a', 100), 0)
  t.is(set.court(undefined), 100)
})

test('one that is about to be removed is waited for until that is certain', (t) => {
  const set = new InSyncSet('a', ['a', 'b'], 0)
  set.confirm('b', 10)
  t.deepEqual(set.removing(['a', 'b']), ['a'])
  t.is(set.removing(['b']), undefined)
  t.is(set.confirm('a', 100), 10)
  t.is(set.keeps(['a']), 100)
})

test('copies of any names that nothing waits for are forgotten, the oldest first', (t) => {
  const set = new InSyncSet('a', ['a', 'b'], 0)
  set.confirm('a', 100)
  set.confirm('b', 40)
  for (let i = 0; i < 1000; i++) set.confirm(`stranger-${i}`, 100)
  t.false(set.knows('stranger-0'))
  t.true(set.knows('stranger-999'))
  t.is(set.acknowledgedTo, 40)
  t.is(set.confirm('b', 90), 90)
})

test('a lease counts from before the call that renewed it, and not to its end', (t) => {
  const time = new LeaseTime()
  t.false(time.isOursAt(0))
  time.renewed(1000, 500)
  t.true(time.isOursAt(1449))
  t.false(time.isOursAt(1450))
  // An answer that comes late says nothing new.
  time.renewed(900, 500)
  t.true(time.isOursAt(1449))
  time.lost()
  t.false(time.isOursAt(1001))
})

test('a copy that is always a little behind was even a little before', (t) => {
  t.is(new Pace(1000).evenMs, 1000)
  const pace = new Pace()
  t.is(pace.evenMs, Number.NEGATIVE_INFINITY)
  pace.heard(50, 100, 2000)
  t.is(pace.evenMs, Number.NEGATIVE_INFINITY)
  pace.heard(90, 150, 2010)
  pace.heard(100, 200, 2020)
  t.is(pace.evenMs, 2000)
  pace.heard(200, 300, 2030)
  t.is(pace.evenMs, 2020)
  pace.heard(300, 300, 2040)
  t.is(pace.evenMs, 2040)
})

test('a state that this version does not understand is none', (t) => {
  const state = { election: 7, master: 'a', inSync: ['a', 'b'] }
  t.deepEqual(decodeState(encodeState(state)), state)
  for (const other of [
    { ...state, election: 0 },
    { ...state, election: 2 ** 22 },
    { ...state, inSync: [] },
    { ...state, inSync: ['a', 1] },
    { ...state, master: null },
  ]) {
    t.is(decodeState(JSON.stringify(other)), undefined)
  }
  t.is(decodeState('{'), undefined)
  t.is(decodeState('null'), undefined)
  t.true(firstEpochOf(2 ** 22 - 1) < 2 ** 32)
})

test('of very many copies the one that was heard of longest ago is forgotten', (t) => {
  const set = new InSyncSet('a', ['a'], 0)
  for (const name of ['b', 'c']) set.confirm(name, 10)
  // As many as are remembered, with these two.
  for (let n = 0; n < 62; n++) set.confirm(`d${n}`, 10)
  set.confirm('b', 20)
  set.confirm('e', 10)
  t.true(set.knows('b'))
  t.false(set.knows('c'))
})
