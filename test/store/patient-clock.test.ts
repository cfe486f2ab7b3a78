import test from 'ava'
import { PatientClock } from '../../src/store/patient-clock.ts'
import { FakeClock } from '../support/fake-clock.ts'

const HOUR_MS = 3_600_000

test('a jump ahead is believed after an hour', (t) => {
  const clock = new FakeClock()
  const patient = new PatientClock(clock, undefined)
  clock.jump(24 * HOUR_MS)
  t.is(patient.now(), clock.now() - 24 * HOUR_MS)
  clock.advance(HOUR_MS - 1)
  t.is(patient.now(), clock.now() - 24 * HOUR_MS)
  clock.advance(1)
  patient.now()
  t.is(patient.now(), clock.now())
})

test('a jump ahead that is taken back in time was none', (t) => {
  const clock = new FakeClock()
  const patient = new PatientClock(clock, undefined)
  clock.jump(24 * HOUR_MS)
  patient.now()
  clock.jump(-24 * HOUR_MS)
  t.is(patient.now(), clock.now())
  clock.jump(24 * HOUR_MS)
  clock.advance(HOUR_MS / 2)
  patient.now()
  clock.advance(HOUR_MS / 2)
  t.is(patient.now(), clock.now() - 24 * HOUR_MS)
})

test('a clock that goes back is believed at once', (t) => {
  const clock = new FakeClock()
  const patient = new PatientClock(clock, undefined)
  clock.jump(-24 * HOUR_MS)
  t.is(patient.now(), clock.now())
})

test('a start long after what was said last is a jump as well', (t) => {
  const clock = new FakeClock()
  const patient = new PatientClock(clock, clock.now() - 24 * HOUR_MS)
  t.is(patient.now(), clock.now() - 24 * HOUR_MS)
  clock.advance(HOUR_MS)
  patient.now()
  t.is(patient.now(), clock.now())
})
