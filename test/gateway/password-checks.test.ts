import test from 'ava'
import { PasswordChecks } from '../../src/gateway/access/password-checks.ts'
import { parsePasswordHash } from '../../src/password.ts'
import { FakeClock } from '../support/fake-clock.ts'

/** Cheap to check; 'secret' with N=16. */
const SECRET = parsePasswordHash(
  'scrypt:16:8:1:c2FsdHNhbHRzYWx0c2FsdA==:8fMVNQRIS3XNsc6gAOqWRDEoI09km9Ol5J49QfkUo8E=',
)

const login = (password: string, name = 'ann') => ({ name, password, address: '10.0.0.1' })

/** Two run at once, and these do as long as the turn of the event loop. */
const runTwo = (checks: PasswordChecks): readonly Promise<boolean>[] =>
  ['first', 'second'].map((password) => checks.check(login(password), SECRET))

test('a login that is not wanted any more leaves the queue at once', async (t) => {
  const checks = new PasswordChecks(new FakeClock())
  const running = runTwo(checks)
  const ends = Array.from({ length: 3 }, () => new AbortController())
  const waiting = ends.map(({ signal }, i) => checks.check(login(`guess ${i}`), SECRET, signal))
  t.is(checks.waitingCount, 3)
  ends[1]!.abort(new Error('gone'))
  t.is(checks.waitingCount, 2)
  await t.throwsAsync(waiting[1]!, { message: 'gone' })
  t.deepEqual(await Promise.all([...running, waiting[0], waiting[2]]), Array(4).fill(false))
})

test('a check that others wait for is made though the first that asked has gone', async (t) => {
  const checks = new PasswordChecks(new FakeClock())
  const running = runTwo(checks)
  const end = new AbortController()
  const first = checks.check(login('secret'), SECRET, end.signal)
  const second = checks.check(login('secret'), SECRET)
  end.abort(new Error('gone'))
  await t.throwsAsync(first, { message: 'gone' })
  t.true(await second)
  await Promise.all(running)
})

test('a login that comes again behind one that is not wanted any more is checked', async (t) => {
  const checks = new PasswordChecks(new FakeClock())
  const running = runTwo(checks)
  const end = new AbortController()
  const gone = checks.check(login('secret'), SECRET, end.signal)
  end.abort(new Error('gone'))
  await t.throwsAsync(gone, { message: 'gone' })
  t.true(await checks.check(login('secret'), SECRET))
  await Promise.all(running)
})

test('a wrong password counts once though the connection that tried it has gone', async (t) => {
  const clock = new FakeClock()
  const checks = new PasswordChecks(clock)
  const guessed = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i++) {
      const end = new AbortController()
      const gone = checks.check(login(`guess ${i}`), SECRET, end.signal)
      end.abort(new Error('gone'))
      // It runs already, and this one waits for what it comes to.
      const joined = checks.check(login(`guess ${i}`), SECRET)
      await t.throwsAsync(gone, { message: 'gone' })
      t.false(await joined)
    }
  }
  await guessed(20)
  const free = checks.check(login('wrong'), SECRET)
  t.is(checks.waitingCount, 0)
  t.false(await free)
  const late = checks.check(login('secret'), SECRET)
  t.is(checks.waitingCount, 1)
  clock.advance(5_000)
  t.true(await late)
})
