import test from 'ava'
import { UniqueIds } from '../../src/broker/publish/unique-ids.ts'
import { findProperty } from '../../src/model/properties.ts'
import { FakeClock } from '../support/fake-clock.ts'

const host = { ip: 0x0a000001, port: 10_911 }
const idOf = (ids: UniqueIds): string =>
  findProperty(ids.append(Buffer.alloc(0), false), 'UNIQ_KEY') ?? ''

test('an id names the host and tells the time as RocketMQ reads it', (t) => {
  const clock = new FakeClock(new Date(2026, 4, 10, 3, 4, 5, 6).getTime())
  const ids = new UniqueIds(clock, host)
  ids.startBatch()
  const id = idOf(ids)
  t.regex(id, /^0A000001[0-9A-F]{24}$/)
  const sinceMonth = clock.now() - new Date(2026, 4, 1).getTime()
  t.is(Number.parseInt(id.slice(20, 28), 16), sinceMonth)
})

test('ids stay unique when the count comes round, the clock stands still or goes back', (t) => {
  const clock = new FakeClock()
  const ids = new UniqueIds(clock, host)
  const seen = new Set<string>()
  for (let batch = 0; batch < 40; batch++) {
    ids.startBatch()
    for (let i = 0; i < 5000; i++) seen.add(idOf(ids))
    if (batch % 10 === 9) clock.jump(-3_600_000)
  }
  t.is(seen.size, 200_000)
})

test('after the clock was ahead for a moment ids tell the time again', (t) => {
  const clock = new FakeClock(new Date(2026, 4, 10).getTime())
  const ids = new UniqueIds(clock, host)
  clock.jump(40 * 86_400_000)
  ids.startBatch()
  const ahead = idOf(ids)
  clock.jump(-40 * 86_400_000)
  ids.startBatch()
  const id = idOf(ids)
  const sinceMonth = clock.now() - new Date(2026, 4, 1).getTime()
  t.is(Number.parseInt(id.slice(20, 28), 16), sinceMonth)
  t.not(id.slice(12, 20), ahead.slice(12, 20))
})

test('the time starts over with the month', (t) => {
  const clock = new FakeClock(new Date(2026, 0, 31, 23, 59, 59, 999).getTime())
  const ids = new UniqueIds(clock, host)
  ids.startBatch()
  idOf(ids)
  clock.advance(11)
  ids.startBatch()
  t.is(Number.parseInt(idOf(ids).slice(20, 28), 16), 10)
})

test('two processes on one host never share an id', (t) => {
  const clock = new FakeClock()
  const [a, b] = [new UniqueIds(clock, host), new UniqueIds(clock, host)]
  a.startBatch()
  b.startBatch()
  t.not(idOf(a), idOf(b))
})
