import test from 'ava'
import { Mailbox } from '../../src/client/calls/mailbox.ts'

test('items come out in the order they went in, to the caller that waits first', async (t) => {
  const box = new Mailbox<number>()
  const first = box.next()
  const second = box.next()
  box.push(1)
  box.push(2)
  box.push(3)
  t.deepEqual(await Promise.all([first, second, box.next()]), [1, 2, 3])
})

test('what was pushed before the end is still handed out', async (t) => {
  const box = new Mailbox<number>()
  box.push(1)
  box.end()
  box.push(2)
  t.is(await box.next(), 1)
  t.is(await box.next(), undefined)
})

test('an error at the end reaches callers that wait and later ones', async (t) => {
  const box = new Mailbox<number>()
  const waiting = box.next()
  box.end(new Error('gone'))
  await t.throwsAsync(waiting, { message: 'gone' })
  await t.throwsAsync(box.next(), { message: 'gone' })
})

test('a caller that gives up waiting loses no item', async (t) => {
  const box = new Mailbox<number>()
  const given = new AbortController()
  const waiting = box.next(given.signal)
  given.abort(new Error('enough'))
  await t.throwsAsync(waiting, { message: 'enough' })
  box.push(1)
  t.is(await box.next(), 1)
  await t.throwsAsync(box.next(AbortSignal.abort(new Error('at once'))), { message: 'at once' })
})
