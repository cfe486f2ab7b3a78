import test from 'ava'
import { BackOff } from '../../src/client/calls/back-off.ts'

test('pauses double up to the longest, and start over after a success', (t) => {
  const backOff = new BackOff(100, 1000, () => 1)
  const pauses = Array.from({ length: 6 }, () => backOff.nextMs())
  t.deepEqual(pauses, [100, 200, 400, 800, 1000, 1000])
  backOff.reset()
  t.is(backOff.nextMs(), 100)
})

test('a pause is between half of its step and all of it', (t) => {
  t.is(new BackOff(100, 1000, () => 0).nextMs(), 50)
  t.is(new BackOff(100, 1000, () => 0.5).nextMs(), 75)
})

test('a thousand failures later the pause is still the longest', (t) => {
  const backOff = new BackOff(100, 1000, () => 1)
  for (let i = 0; i < 1000; i++) backOff.nextMs()
  t.is(backOff.nextMs(), 1000)
})
