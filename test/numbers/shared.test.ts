import test from 'ava'
import { nextTurn } from '../../src/clock.ts'
import { shared } from '../../src/numbers/shared.ts'

test('those that ask during the work share the next, also after one that failed', async (t) => {
  let begun = 0
  let fails = true
  const work = shared(async () => {
    begun++
    await nextTurn()
    if (fails) throw new Error('once')
    return begun
  })
  const first = work()
  const next = [work(), work(), work()]
  await t.throwsAsync(first, { message: 'once' })
  fails = false
  t.deepEqual(await Promise.all(next), [2, 2, 2])
  t.is(await work(), 3)
})
