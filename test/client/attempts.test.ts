import test from 'ava'
import { withRetries } from '../../src/client/attempts.ts'
import { BrokerError } from '../../src/errors.ts'
import { FakeClock } from '../support/fake-clock.ts'

test('no attempt is made with hardly any time left: its error would hide why those before it failed', async (t) => {
  const clock = new FakeClock()
  const lefts: number[] = []
  let isOver = false
  const trying = withRetries({ clock, timeoutMs: 60 }, async (leftMs) => {
    lefts.push(leftMs())
    throw new BrokerError('BUSY', 'no room')
  }).finally(() => {
    isOver = true
  })
  const refused = t.throwsAsync(trying, { code: 'BUSY' })
  while (!isOver) await clock.advanceAsync(1)
  await refused
  t.deepEqual(lefts, [60])
})
