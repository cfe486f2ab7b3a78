import test from 'ava'
import { UniqueIds, uniqueClientId } from '../../src/client/routes/unique-id.ts'
import { FakeClock } from '../support/fake-clock.ts'

test('an id has 32 upper-case hex digits and never comes twice', (t) => {
  const ids = new UniqueIds(new FakeClock())
  const made = Array.from({ length: 50_000 }, () => ids.next())
  t.is(new Set(made).size, made.length)
  t.true(made.every((id) => /^[0-9A-F]{32}$/.test(id)))
})

test('an id tells the time since its month began, across the turn of a month', (t) => {
  const newYear = new Date(2024, 0, 1).getTime()
  const clock = new FakeClock(newYear - 1000)
  const ids = new UniqueIds(clock)
  const msOf = (id: string): number => Number.parseInt(id.slice(20, 28), 16)
  t.is(msOf(ids.next()), newYear - 1000 - new Date(2023, 11, 1).getTime())
  clock.advance(1500)
  t.is(msOf(ids.next()), 500)
  clock.jump(-1400)
  t.is(msOf(ids.next()), newYear - 900 - new Date(2023, 11, 1).getTime())
})

test('two makers in one process do not collide', (t) => {
  const clock = new FakeClock()
  t.not(new UniqueIds(clock).next().slice(12, 20), new UniqueIds(clock).next().slice(12, 20))
})

test("a client id is RocketMQ's: address, process, something unique", (t) => {
  t.regex(uniqueClientId(), /^\d+\.\d+\.\d+\.\d+@\d+#[0-9a-f]{12}$/)
  t.not(uniqueClientId(), uniqueClientId())
})
