import test from 'ava'
import { Exclusive } from '../../src/gateway/access/exclusive.ts'

function gate() {
  let open = (): void => {}
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  return { open, opened }
}

test('work on one name is done one after the other in the order asked for', async (t) => {
  const exclusive = new Exclusive()
  const { open, opened } = gate()
  const done: string[] = []
  const work = (step: string) => async (): Promise<void> => {
    await opened
    done.push(`${step} begins`)
    await Promise.resolve()
    done.push(`${step} ends`)
  }
  const all = ['a', 'b', 'c'].map((step) => exclusive.run('name', work(step)))
  open()
  await Promise.all(all)
  t.deepEqual(done, ['a begins', 'a ends', 'b begins', 'b ends', 'c begins', 'c ends'])
})

test('work on another name does not wait', async (t) => {
  const exclusive = new Exclusive()
  const { open, opened } = gate()
  const first = exclusive.run('name', () => opened)
  t.is(await exclusive.run('other', async () => 'done'), 'done')
  open()
  await first
})

test('work that fails lets the next begin', async (t) => {
  const exclusive = new Exclusive()
  const failed = exclusive.run('name', () => Promise.reject(new Error('no')))
  const next = exclusive.run('name', async () => 'done')
  await t.throwsAsync(failed, { message: 'no' })
  t.is(await next, 'done')
})

test('what is not wanted any more leaves the line at once and is never done', async (t) => {
  const exclusive = new Exclusive()
  const { open, opened } = gate()
  const ended = new AbortController()
  const done: string[] = []
  const first = exclusive.run('name', () => opened)
  const unwanted = exclusive.run('name', async () => done.push('unwanted'), ended.signal)
  const late = exclusive.run('name', async () => done.push('late'))
  ended.abort(new Error('gone'))
  await t.throwsAsync(unwanted, { message: 'gone' })
  const asked = exclusive.run('name', async () => done.push('asked after'), ended.signal)
  await t.throwsAsync(asked, { message: 'gone' })
  open()
  await Promise.all([first, late])
  t.deepEqual(done, ['late'])
})

test('idle waits for all that was asked for', async (t) => {
  const exclusive = new Exclusive()
  const done: string[] = []
  for (const name of ['a', 'b']) {
    for (const step of [1, 2]) {
      exclusive.run(name, async () => done.push(`${name}${step}`)).catch(() => {})
    }
  }
  await exclusive.idle()
  t.deepEqual(done.sort(), ['a1', 'a2', 'b1', 'b2'])
})
