import { createHmac } from 'node:crypto'
import test, { type ExecutionContext } from 'ava'
import fc from 'fast-check'
import { BrokerError } from '../../src/errors.ts'
import {
  type Action,
  type Authenticator,
  openAuthenticator,
  type Principal,
  type Resource,
  type User,
} from '../../src/gateway/auth.ts'
import { FakeClock } from '../support/fake-clock.ts'

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
  openAuthenticator(users, clock)

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
  t.true((await auth.verifyPassword('whoever', 'whatever', 'mqtt')).anonymous)
  t.true(auth.verifySignature('whoever', '', []).anonymous)
})

test('with users nobody is anonymous', (t) => {
  const auth = open({ ann: user({ password: SECRET }) })
  t.false(auth.anonymousAllowed)
  t.throws(() => auth.anonymous(), { code: 'UNAUTHENTICATED' })
})

test('the right password is the user, and a wrong one reads like an unknown user', async (t) => {
  const auth = open({ ann: user({ password: SECRET }), key: user({ secretKey: 'only a key' }) })
  t.deepEqual(await auth.verifyPassword('ann', 'secret', 'amqp'), {
    name: 'ann',
    admin: false,
    anonymous: false,
  })
  const wrong = await unauthenticated(t, auth.verifyPassword('ann', 'Secret', 'mqtt'))
  t.is(await unauthenticated(t, auth.verifyPassword('bob', 'secret', 'mqtt')), wrong)
  t.is(await unauthenticated(t, auth.verifyPassword('key', 'only a key', 'mqtt')), wrong)
  t.is(await unauthenticated(t, auth.verifyPassword('__proto__', 'x', 'mqtt')), wrong)
})

test('a password that was right is remembered for a while, and checked again after it', async (t) => {
  const clock = new FakeClock()
  const auth = open({ ann: user({ password: SECRET }) }, clock)
  await auth.verifyPassword('ann', 'secret', 'mqtt')
  // Settles without the thread pool: two turns of microtasks are enough.
  let isSettled = false
  void auth.verifyPassword('ann', 'secret', 'mqtt').then(() => {
    isSettled = true
  })
  for (let i = 0; i < 10; i++) await Promise.resolve()
  t.true(isSettled)
  clock.advance(11 * 60_000)
  isSettled = false
  const again = auth.verifyPassword('ann', 'secret', 'mqtt').then(() => {
    isSettled = true
  })
  for (let i = 0; i < 10; i++) await Promise.resolve()
  t.false(isSettled)
  await again
  await unauthenticated(t, auth.verifyPassword('ann', 'other', 'mqtt'))
})

test('a thousand connections with one password cost one check; a flood of guesses is told to wait', async (t) => {
  const auth = open({ ann: user({ password: SECRET }) })
  const same = Array.from({ length: 1000 }, () => auth.verifyPassword('ann', 'secret', 'mqtt'))
  const guesses = Array.from({ length: 400 }, (_, i) =>
    auth.verifyPassword('ann', `guess ${i}`, 'mqtt').catch((error: BrokerError) => error.code),
  )
  t.true((await Promise.all(same)).every((who) => typeof who === 'object' && who.name === 'ann'))
  const codes = await Promise.all(guesses)
  t.is(codes.filter((code) => code === 'BUSY').length > 0, true)
  t.is(
    codes.every((code) => code === 'BUSY' || code === 'UNAUTHENTICATED'),
    true,
  )
  t.is((await auth.verifyPassword('ann', 'secret', 'mqtt')).name, 'ann')
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
  const ann = await auth.verifyPassword('ann', 'secret', 'mqtt')
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
  const ann = await auth.verifyPassword('ann', 'secret', 'mqtt')
  t.true(allowed(auth, ann, 'consume', topic('anything')))
  t.false(allowed(auth, ann, 'consume', topic('rmq_sys_TRIVET_FACTS')))
  t.false(allowed(auth, ann, 'publish', topic('SCHEDULE_TOPIC_XXXX')))
})

test('an admin may do everything', async (t) => {
  const auth = open({ root: user({ password: SECRET, admin: true }) })
  const root = await auth.verifyPassword('root', 'secret', 'mqtt')
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
