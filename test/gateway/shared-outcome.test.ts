import test from 'ava'
import { SharedOutcome } from '../../src/gateway/access/shared-outcome.ts'

test('all that wait get the outcome', async (t) => {
  const outcome = new SharedOutcome<number>(() => t.fail())
  const all = [outcome.wait(), outcome.wait(new AbortController().signal)]
  outcome.resolve(7)
  t.deepEqual(await Promise.all(all), [7, 7])
})

test('all that wait get the error', async (t) => {
  const outcome = new SharedOutcome<number>(() => t.fail())
  const all = [outcome.wait(), outcome.wait()]
  outcome.reject(new Error('no'))
  for (const one of all) await t.throwsAsync(one, { message: 'no' })
})

test('one that is aborted gets the reason at once, and the last one is told', async (t) => {
  let abandoned = 0
  const outcome = new SharedOutcome<number>(() => abandoned++)
  const ends = [new AbortController(), new AbortController()]
  const all = ends.map(({ signal }) => outcome.wait(signal))
  ends[0]!.abort(new Error('gone'))
  await t.throwsAsync(all[0]!, { message: 'gone' })
  t.is(abandoned, 0)
  ends[1]!.abort(new Error('gone too'))
  await t.throwsAsync(all[1]!, { message: 'gone too' })
  t.is(abandoned, 1)
})

test('a signal that is aborted already waits for nothing', async (t) => {
  const outcome = new SharedOutcome<number>(() => t.fail())
  await t.throwsAsync(outcome.wait(AbortSignal.abort(new Error('gone'))), { message: 'gone' })
})

test('a signal that is aborted behind the outcome changes nothing', async (t) => {
  const outcome = new SharedOutcome<number>(() => t.fail())
  const end = new AbortController()
  const one = outcome.wait(end.signal)
  outcome.resolve(1)
  end.abort()
  t.is(await one, 1)
})
