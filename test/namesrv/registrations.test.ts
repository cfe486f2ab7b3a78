import test from 'ava'
import { Registrations } from '../../src/namesrv/registrations.ts'

test('registrations are read one after the other', async (t) => {
  const registrations = new Registrations()
  const steps: string[] = []
  let finish = (): void => {}
  const first = registrations.run(1, async () => {
    steps.push('first begins')
    await new Promise<void>((resolve) => {
      finish = resolve
    })
    steps.push('first ends')
  })
  const second = registrations.run(1, async () => {
    steps.push('second')
  })
  await Promise.resolve()
  finish()
  await Promise.all([first, second])
  t.deepEqual(steps, ['first begins', 'first ends', 'second'])
})

test('one that fails holds up none', async (t) => {
  const registrations = new Registrations()
  const first = registrations.run(1, () => Promise.reject(new Error('no table')))
  const second = registrations.run(1, async () => 'read')
  await t.throwsAsync(first, { message: 'no table' })
  t.is(await second, 'read')
})

test('what waits is bounded, and a single one may be as large as it likes', async (t) => {
  const registrations = new Registrations(10)
  const first = registrations.run(11, async () => 'read')
  const late = registrations.run(1, async () => 'read')
  await t.throwsAsync(late, { code: 'BUSY' })
  t.is(await first, 'read')
  t.is(await registrations.run(10, async () => 'read'), 'read')
})
