import { createHmac } from 'node:crypto'
import test, { type ExecutionContext } from 'ava'
import fc from 'fast-check'
import type { Action, Authenticator, Principal, Resource } from '../../src/access/auth.ts'
import type { User } from '../../src/access/known-users.ts'
import { UserStore } from '../../src/access/user-store.ts'
import { BrokerError } from '../../src/errors.ts'
import { FakeClock } from '../support/fake-clock.ts'

const ADDRESS = '10.0.0.1'
/** Cheap to check; 'secret' with N=16. */
const SECRET = 'scrypt:16:8:1:c2FsdHNhbHRzYWx0c2FsdA==:8fMVNQRIS3XNsc6gAOqWRDEoI09km9Ol5J49QfkUo8E='

const user = (changed: Partial<User> = {}): User => ({
  admin: false,
  publish: [],
  consume: [],
  create: [],
  ...changed,
})

const open = (users: Record<string, User>, clock = new FakeClock()): Authenticator =>
  new UserStore(users, clock)

function allowed(auth: Authenticator, who: Principal, action: Action, resource: Resource): boolean {
  try {
    auth.authorize(who, action, resource)
    return true
  } catch (error) {
    if (error instanceof BrokerError && error.code === 'PERMISSION_DENIED') return false
    throw error
  }
}

const topic = (name: string): Resource => ({ kind: 'topic', name })
const group = (name: string): Resource => ({ kind: 'group', name })

async function unauthenticated(t: ExecutionContext, attempt: Promise<unknown>): Promise<string> {
  const error = await t.throwsAsync(attempt, { instanceOf: BrokerError, code: 'UNAUTHENTICATED' })
  return error.message
}

test('without users everyone is anonymous and may do everything', async (t) => {
  const auth = open({})
  t.true(auth.anonymousAllowed)
  const who = auth.anonymous()
  t.true(who.anonymous)
  t.true(allowed(auth, who, 'manage', { kind: 'cluster' }))
  t.true((await auth.verifyPassword('whoever', 'whatever', ADDRESS)).anonymous)
  t.true(auth.verifySignature('whoever', '', []).anonymous)
})

test('with users no client is anonymous', (t) => {
  const auth = open({ ann: user({ password: SECRET }) })
  t.false(auth.anonymousAllowed)
  t.throws(() => auth.anonymous(), { code: 'UNAUTHENTICATED' })
})

test('the right password is the user, and a wrong one reads like an unknown user', async (t) => {
  const auth = open({ ann: user({ password: SECRET }), key: user({ secretKey: 'only a key' }) })
  t.deepEqual(await auth.verifyPassword('ann', 'secret', ADDRESS), {
    name: 'ann',
    admin: false,
    anonymous: false,
  })
  const wrong = await unauthenticated(t, auth.verifyPassword('ann', 'Secret', ADDRESS))
  t.is(await unauthenticated(t, auth.verifyPassword('bob', 'secret', ADDRESS)), wrong)
  t.is(await unauthenticated(t, auth.verifyPassword('key', 'only a key', ADDRESS)), wrong)
  t.is(await unauthenticated(t, auth.verifyPassword('__proto__', 'x', ADDRESS)), wrong)
})

test('a password that was right is remembered for a while, and checked again after it', async (t) => {
  const clock = new FakeClock()
  const auth = open({ ann: user({ password: SECRET }) }, clock)
  await auth.verifyPassword('ann', 'secret', ADDRESS)
  // Settles without the thread pool: two turns of microtasks are enough.
  let isSettled = false
  void auth.verifyPassword('ann', 'secret', ADDRESS).then(() => {
    isSettled = true
  })
  for (let i = 0; i < 10; i++) await Promise.resolve()
  t.true(isSettled)
  clock.advance(11 * 60_000)
  isSettled = false
  const again = auth.verifyPassword('ann', 'secret', ADDRESS).then(() => {
    isSettled = true
  })
  for (let i = 0; i < 10; i++) await Promise.resolve()
  t.false(isSettled)
  await again
  await unauthenticated(t, auth.verifyPassword('ann', 'other', ADDRESS))
})

test('a thousand connections with one password cost one check', async (t) => {
  const auth = open({ ann: user({ password: SECRET }) })
  const same = Array.from({ length: 1000 }, () => auth.verifyPassword('ann', 'secret', ADDRESS))
  t.true((await Promise.all(same)).every(({ name }) => name === 'ann'))
})

const codeOf = (attempt: Promise<Principal>): Promise<string> =>
  attempt.then(
    ({ name }) => name,
    (error: BrokerError) => error.code,
  )

/** Guesses that are not answered before the test ends. */
function guess(auth: Authenticator, count: number, from: (i: number) => [string, string]): void {
  for (let i = 0; i < count; i++) {
    const [name, address] = from(i)
    void codeOf(auth.verifyPassword(name, `guess ${i}`, address))
  }
}

for (const [title, from] of [
  ['with one name from one address', () => ['ann', '10.6.6.6']],
  ['with many names from one address', (i: number) => [`name ${i}`, '10.6.6.6']],
  ['with one name from many addresses', (i: number) => ['ann', `10.6.6.${i}`]],
  ['with many names from one IPv6 network', (i: number) => [`name ${i}`, `2001:db8::${i}`]],
] as const) {
  test(`a login does not wait for, and is not refused by, a burst of guesses ${title}`, async (t) => {
    // The clock stands still: nothing is forgiven and no pause ends.
    const auth = open({ ann: user({ password: SECRET }), bob: user({ password: SECRET }) })
    guess(auth, 600, (i) => [...from(i)] as [string, string])
    t.is(await codeOf(auth.verifyPassword('bob', 'secret', '10.0.0.2')), 'bob')
  })
}

test('guessing from elsewhere does not keep out the user whose name is guessed at', async (t) => {
  const auth = open({ ann: user({ password: SECRET }) })
  guess(auth, 600, () => ['ann', '10.6.6.6'])
  t.is(await codeOf(auth.verifyPassword('ann', 'secret', '10.0.0.2')), 'ann')
})

test('wrong passwords beyond twenty from all over one IPv6 network are checked after pauses', async (t) => {
  const clock = new FakeClock()
  const auth = open({ ann: user({ password: SECRET }), bob: user({ password: SECRET }) }, clock)
  for (let i = 0; i < 21; i++) {
    const guessed = auth.verifyPassword('ann', `guess ${i}`, `2001:db8::${i + 1}`)
    t.is(await codeOf(guessed), 'UNAUTHENTICATED')
  }
  let isAnswered = false
  const late = codeOf(auth.verifyPassword('ann', 'secret', '2001:db8::99')).then((answer) => {
    isAnswered = true
    return answer
  })
  t.is(await codeOf(auth.verifyPassword('bob', 'wrong', '2001:db8:0:1::1')), 'UNAUTHENTICATED')
  t.false(isAnswered)
  clock.advance(5_000)
  t.is(await late, 'ann')
})

test('wrong passwords beyond twenty from one address are checked after pauses', async (t) => {
  const clock = new FakeClock()
  const auth = open({ ann: user({ password: SECRET }) }, clock)
  const tried = (password: string): Promise<string> =>
    codeOf(auth.verifyPassword('ann', password, '10.6.6.6'))
  for (let i = 0; i < 22; i++) {
    const answer = tried(`guess ${i}`)
    // Those beyond wait for the clock.
    if (i > 20) clock.advance(250)
    t.is(await answer, 'UNAUTHENTICATED')
  }
  let isSettled = false
  const late = tried('secret').then((answer) => {
    isSettled = true
    return answer
  })
  t.is(await codeOf(auth.verifyPassword('ann', 'wrong', '10.0.0.2')), 'UNAUTHENTICATED')
  t.false(isSettled)
  clock.advance(5_000)
  t.is(await late, 'ann')
})

test('wrong signatures from all over one IPv6 network count together', (t) => {
  const auth = open({ rocket: user({ secretKey: 'key' }) })
  const delays = Array.from({ length: 22 }, (_, i) => auth.wrongSignature(`2001:db8::${i + 1}`))
  t.is(delays[19], 0)
  t.is(delays[21], 500)
  t.is(auth.wrongSignature('2001:db8:0:1::1'), 0)
})

test('more logins than may wait are told to come again, those of the crowd first', async (t) => {
  const auth = open({ ann: user({ password: SECRET }) })
  const crowd = Array.from({ length: 300 }, (_, i) =>
    codeOf(auth.verifyPassword(`name ${i}`, 'guess', '10.6.6.6')),
  )
  t.is(await crowd.at(-1), 'BUSY')
})

test('an unknown user costs a check as dear as a known one, whatever the costs of these are', async (t) => {
  const costs = new Map<string, number>()
  const checks = {
    check: async ({ name }: { name: string }, { cost }: { cost: number }): Promise<boolean> => {
      t.is(costs.get(name) ?? cost, cost)
      costs.set(name, cost)
      // Not even a client that knows a dummy's password gets in.
      return true
    },
    checkProof: async () => true,
  }
  const dearer = SECRET.replace('scrypt:16:', 'scrypt:1024:')
  const users = { ann: user({ password: SECRET }), bob: user({ password: dearer }) }
  const auth = new UserStore(users, new FakeClock(), checks)
  for (let i = 0; i < 200; i++) {
    await unauthenticated(t, auth.verifyPassword(`nobody-${i % 100}`, 'secret', ADDRESS))
  }
  t.deepEqual(
    [...new Set(costs.values())].sort((a, b) => a - b),
    [16, 1024],
  )
})

test("RocketMQ's signature is the base64 HMAC-SHA1 of the content under the secret key", async (t) => {
  const auth = open({ rocket: user({ secretKey: '12345678' }), ann: user({ password: SECRET }) })
  const content = [Buffer.from('AKrocket'), Buffer.from('body')]
  const signature = createHmac('sha1', '12345678').update('AKrocketbody').digest('base64')
  t.is(auth.verifySignature('rocket', signature, content).name, 'rocket')
  for (const [key, given, parts] of [
    ['rocket', signature, [Buffer.from('AKrocketbodz')]],
    ['rocket', '', content],
    ['rocket', 'not base64 at all', content],
    ['rocket', `${signature.slice(0, 10)}`, content],
    ['stranger', signature, content],
    ['ann', signature, content],
  ] as const) {
    t.throws(() => auth.verifySignature(key, given, parts), { code: 'UNAUTHENTICATED' })
  }
})

test('what is not granted is denied', async (t) => {
  const auth = open({
    ann: user({
      password: SECRET,
      publish: ['orders', 'logs-*'],
      consume: ['billing', 'orders'],
      create: ['logs-*'],
    }),
  })
  const ann = await auth.verifyPassword('ann', 'secret', ADDRESS)
  const may = (action: Action, resource: Resource): boolean => allowed(auth, ann, action, resource)
  t.true(may('publish', topic('orders')))
  t.true(may('publish', topic('logs-eu')))
  t.true(may('consume', topic('orders')))
  t.true(may('consume', group('billing')))
  t.true(may('create', topic('logs-new')))
  t.true(may('create', group('billing')), 'whoever consumes with a group may bring it about')
  t.true(may('consume', topic('%RETRY%billing')))
  t.true(may('publish', topic('%RETRY%billing')), 'a failed message goes back to its group')
  t.true(may('consume', topic('%DLQ%billing')))

  t.false(may('publish', topic('orders2')))
  t.false(may('publish', topic('logs')))
  t.false(may('consume', topic('logs-eu')))
  t.false(may('create', topic('orders')))
  t.false(may('consume', group('other')))
  t.false(may('consume', topic('%RETRY%other')))
  t.false(may('manage', topic('orders')))
  t.false(may('manage', { kind: 'cluster' }))
})

test('a grant for every topic leaves out the system topics', async (t) => {
  const auth = open({ ann: user({ password: SECRET, publish: ['*'], consume: ['*'] }) })
  const ann = await auth.verifyPassword('ann', 'secret', ADDRESS)
  t.true(allowed(auth, ann, 'consume', topic('anything')))
  t.false(allowed(auth, ann, 'consume', topic('rmq_sys_TRIVET_FACTS')))
  t.false(allowed(auth, ann, 'publish', topic('SCHEDULE_TOPIC_XXXX')))
})

test('an admin may do everything', async (t) => {
  const auth = open({ root: user({ password: SECRET, admin: true }) })
  const root = await auth.verifyPassword('root', 'secret', ADDRESS)
  t.true(allowed(auth, root, 'manage', { kind: 'cluster' }))
  t.true(allowed(auth, root, 'consume', topic('rmq_sys_TRIVET_FACTS')))
})

test('nothing in a name is a pattern, whatever characters it has', (t) => {
  const auth = open({ ann: user({ publish: ['a.c', 'b+*'] }) })
  const ann: Principal = { name: 'ann', admin: false, anonymous: false }
  const holds = fc.property(fc.string(), (name) => {
    const expected = name === 'a.c' || name.startsWith('b+')
    return allowed(auth, ann, 'publish', topic(name)) === expected
  })
  t.notThrows(() => fc.assert(holds))
})

test('a bad password hash names its user and how to make one', (t) => {
  const error = t.throws(() => open({ ann: user({ password: 'scrypt:1:1:1:a:b' }) }), {
    instanceOf: BrokerError,
    code: 'CONFIG_INVALID',
  })
  t.regex(error.message, /^users\.ann\.password: .*trivet hash-password/)
})
