import test from 'ava'
import { withRetries } from '../../src/client/calls/attempts.ts'
import { sleep } from '../../src/clock.ts'
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

for (const { title, firstTakesMs, code } of [
  { title: 'soon after it began leaves the error before it', firstTakesMs: 900, code: 'BUSY' },
  { title: 'after a good while has an error of its own', firstTakesMs: 100, code: 'TIMED_OUT' },
] as const) {
  test(`an attempt that the end of the time cuts off ${title}`, async (t) => {
    const clock = new FakeClock()
    let isFirst = true
    let isOver = false
    const trying = withRetries({ clock, timeoutMs: 1000 }, async (leftMs) => {
      await sleep(clock, isFirst ? firstTakesMs : leftMs())
      if (!isFirst) throw new BrokerError('TIMED_OUT', 'no answer')
      isFirst = false
      throw new BrokerError('BUSY', 'no room')
    }).finally(() => {
      isOver = true
    })
    const refused = t.throwsAsync(trying, { code })
    while (!isOver) await clock.advanceAsync(1)
    await refused
    t.false(isFirst)
  })
}
