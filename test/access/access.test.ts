import { isIPv6 } from 'node:net'
import test from 'ava'
import fc from 'fast-check'
import { Exclusive } from '../../src/access/exclusive.ts'
import { FairQueue, type WaitingLogin } from '../../src/access/fair-queue.ts'
import { NetworkCounts } from '../../src/access/network-counts.ts'
import { PasswordChecks } from '../../src/access/password-checks.ts'
import { networkOf } from '../../src/access/peer-network.ts'
import { parsePasswordHash } from '../../src/access/secrets/password.ts'
import { SharedOutcome } from '../../src/access/shared-outcome.ts'
import { FakeClock } from '../support/fake-clock.ts'

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

const login = (address: string, name: string, refuse = () => {}): WaitingLogin => ({
  ...{ address, name, refuse },
  start: () => {},
})

const ALL = (): boolean => true

test('a login that is alone with an address and a name is among the next two, however many wait', (t) => {
  const queue = new FairQueue(1000)
  for (let i = 0; i < 100; i++) queue.add(login('crowd', `name ${i}`))
  for (let i = 0; i < 100; i++) queue.add(login(`address ${i}`, 'crowd'))
  const alone = login('alone', 'alone')
  queue.add(alone)
  // It stands behind those that came before it, by one of the two.
  const taken = Array.from({ length: 205 }, () => queue.take(ALL))
  t.true(taken.indexOf(alone) <= 202)
})

test('one address with many names takes every other turn at most', (t) => {
  const queue = new FairQueue(1000)
  for (let i = 0; i < 100; i++) queue.add(login('crowd', `name ${i}`))
  const alone = login('alone', 'alone')
  queue.add(alone)
  const taken = Array.from({ length: 4 }, () => queue.take(ALL))
  t.true(taken.includes(alone))
})

test('the newest of the crowd goes when there is no room', (t) => {
  const queue = new FairQueue(3)
  const refused: string[] = []
  const add = (address: string, name: string): void =>
    queue.add(login(address, name, () => refused.push(`${address} ${name}`)))
  for (const name of ['a', 'b', 'c']) add('crowd', name)
  add('alone', 'z')
  t.deepEqual(refused, ['crowd c'])
  add('crowd', 'd')
  t.deepEqual(refused, ['crowd c', 'crowd d'])
  t.is(queue.size, 3)
})

test('each login that was added is taken once or refused once', (t) => {
  const step = fc.option(fc.tuple(fc.integer({ max: 3, min: 0 }), fc.integer({ max: 3, min: 0 })))
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const queue = new FairQueue(5)
      const waiting = new Set<WaitingLogin>()
      for (const given of steps) {
        if (given === null) {
          const taken = queue.take(ALL)
          t.is(taken !== undefined, waiting.size > 0)
          if (taken !== undefined) t.true(waiting.delete(taken))
        } else {
          const one: WaitingLogin = login(`a${given[0]}`, `n${given[1]}`, () => {
            t.true(waiting.delete(one))
          })
          waiting.add(one)
          queue.add(one)
        }
        t.is(queue.size, waiting.size)
        t.true([...queue].every((one) => waiting.has(one)))
      }
    }),
  )
})

test('all that wait for one outcome get it', async (t) => {
  const outcome = new SharedOutcome<number>(() => t.fail())
  const all = [outcome.wait(), outcome.wait(new AbortController().signal)]
  outcome.resolve(7)
  t.deepEqual(await Promise.all(all), [7, 7])
})

test('all that wait for one outcome get its error', async (t) => {
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

/** Cheap to check; 'secret' with N=16. */
const SECRET = parsePasswordHash(
  'scrypt:16:8:1:c2FsdHNhbHRzYWx0c2FsdA==:8fMVNQRIS3XNsc6gAOqWRDEoI09km9Ol5J49QfkUo8E=',
)

const loginWith = (password: string, name = 'ann') => ({ name, password, address: '10.0.0.1' })

/** Two run at once, and these do as long as the turn of the event loop. */
const runTwo = (checks: PasswordChecks): readonly Promise<boolean>[] =>
  ['first', 'second'].map((password) => checks.check(loginWith(password), SECRET))

test('a login that is not wanted any more leaves the queue at once', async (t) => {
  const checks = new PasswordChecks(new FakeClock())
  const running = runTwo(checks)
  const ends = Array.from({ length: 3 }, () => new AbortController())
  const waiting = ends.map(({ signal }, i) => checks.check(loginWith(`guess ${i}`), SECRET, signal))
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
  const first = checks.check(loginWith('secret'), SECRET, end.signal)
  const second = checks.check(loginWith('secret'), SECRET)
  end.abort(new Error('gone'))
  await t.throwsAsync(first, { message: 'gone' })
  t.true(await second)
  await Promise.all(running)
})

test('a login that comes again behind one that is not wanted any more is checked', async (t) => {
  const checks = new PasswordChecks(new FakeClock())
  const running = runTwo(checks)
  const end = new AbortController()
  const gone = checks.check(loginWith('secret'), SECRET, end.signal)
  end.abort(new Error('gone'))
  await t.throwsAsync(gone, { message: 'gone' })
  t.true(await checks.check(loginWith('secret'), SECRET))
  await Promise.all(running)
})

test('a wrong password counts once though the connection that tried it has gone', async (t) => {
  const clock = new FakeClock()
  const checks = new PasswordChecks(clock)
  const guessed = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i++) {
      const end = new AbortController()
      const gone = checks.check(loginWith(`guess ${i}`), SECRET, end.signal)
      end.abort(new Error('gone'))
      // It runs already, and this one waits for what it comes to.
      const joined = checks.check(loginWith(`guess ${i}`), SECRET)
      await t.throwsAsync(gone, { message: 'gone' })
      t.false(await joined)
    }
  }
  await guessed(20)
  const free = checks.check(loginWith('wrong'), SECRET)
  t.is(checks.waitingCount, 0)
  t.false(await free)
  const late = checks.check(loginWith('secret'), SECRET)
  t.is(checks.waitingCount, 1)
  clock.advance(5_000)
  t.true(await late)
})

test('the addresses of one IPv6 network share what it may have, those of another do not', (t) => {
  const counts = new NetworkCounts()
  t.true(counts.take('2001:db8::1', 2))
  t.true(counts.take('2001:db8::2', 2))
  t.false(counts.take('2001:db8::3', 2))
  t.true(counts.take('2001:db8:0:1::3', 2))
  counts.give('2001:db8::1')
  t.true(counts.take('2001:db8::3', 2))
})

test('an IPv4 address in IPv6 form is the IPv4 address', (t) => {
  const counts = new NetworkCounts()
  t.true(counts.take('::ffff:192.0.2.1', 1))
  t.false(counts.take('192.0.2.1', 1))
  t.true(counts.take('::ffff:192.0.2.2', 1))
})

for (const [address, network] of [
  ['192.0.2.7', '192.0.2.7'],
  ['::ffff:192.0.2.7', '192.0.2.7'],
  ['::FFFF:c000:0207', '192.0.2.7'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['2001:db8:1:2::', '2001:db8:1:2::/64'],
  ['2001:db8::1', '2001:db8:0:0::/64'],
  ['64:ff9b::192.0.2.7', '64:ff9b:0:0::/64'],
  ['::1', '0:0:0:0::/64'],
  ['fe80::1%eth0', 'fe80:0:0:0::/64%eth0'],
  ['fe80::2%eth1', 'fe80:0:0:0::/64%eth1'],
  ['', ''],
  [':::', ':::'],
  ['1:2:3', '1:2:3'],
  ['::ffff:1.2.3', '::ffff:1.2.3'],
] as const) {
  test(`'${address}' counts as '${network}'`, (t) => {
    t.is(networkOf(address), network)
  })
}

test('the last 64 bits make no difference, any of the first does', (t) => {
  const address = fc.ipV6().filter((text) => isIPv6(text) && !text.includes('.'))
  const group = fc.integer({ min: 0, max: 0xffff })
  const all = fc.property(fc.tuple(group, group, group, group), address, (head, other) => {
    const hex = head.map((one) => one.toString(16)).join(':')
    const network = networkOf(`${hex}::1`)
    t.is(networkOf(`${hex}:1:2:3:4`), network)
    const isSame = networkOf(other) === network
    t.is(networkOf(`${hex}::ff`) === networkOf(other), isSame)
  })
  t.notThrows(() => fc.assert(all))
})
