// One login by SCRAM-SHA-256, without a protocol around it.
import test, { type ExecutionContext } from 'ava'
import fc from 'fast-check'
import { Accounts } from '../../src/access/accounts.ts'
import type { User } from '../../src/access/known-users.ts'
import { ScramLogin } from '../../src/access/scram.ts'
import { deriveScramKeys, parseScramKeys, scramText } from '../../src/access/secrets/scram-keys.ts'
import { UserStore } from '../../src/access/user-store.ts'
import { BrokerError } from '../../src/errors.ts'
import { silentLogger } from '../../src/log.ts'
import type { StateEntry, StateNews, StateVersion } from '../../src/model/state.ts'
import { cheapHash } from '../support/cheap-password.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { ScramClient } from '../support/peers/scram-client.ts'

const ADDRESS = '10.0.0.1'
const SALT = Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64')

const keysOf = async (password: string, iterations = 4096): Promise<string> =>
  scramText(await deriveScramKeys(password, SALT, iterations))

const user = (secrets: Partial<User>): User => ({
  ...{ admin: false, publish: [], consume: [], create: [] },
  ...secrets,
})

async function refused(t: ExecutionContext, attempt: () => unknown, text?: RegExp): Promise<void> {
  const error = await t.throwsAsync(async () => attempt(), { instanceOf: BrokerError })
  t.is(error.code, 'UNAUTHENTICATED')
  if (text !== undefined) t.regex(error.message, text)
}

test('the exchange of RFC 7677 comes to the same bytes', async (t) => {
  const auth = new UserStore({ user: user({ scram: await keysOf('pencil') }) }, new FakeClock())
  const nonce = '%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0'
  const login = new ScramLogin(auth, ADDRESS, () => nonce)
  const challenge = login.first(Buffer.from('n,,n=user,r=rOprNGfwEbeRWgbNEkqO'))
  t.is(challenge.toString(), `r=rOprNGfwEbeRWgbNEkqO${nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096`)
  const proof = 'dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ='
  const { principal, serverFinal } = await login.final(
    Buffer.from(`c=biws,r=rOprNGfwEbeRWgbNEkqO${nonce},p=${proof}`),
  )
  t.is(principal.name, 'user')
  t.is(serverFinal.toString(), 'v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=')
})

test('any name and password that SASLprep leaves alone log in, and another password does not', async (t) => {
  const text = fc.string({ unit: 'grapheme-ascii', minLength: 1, maxLength: 20 })
  await fc.assert(
    fc.asyncProperty(text, text, async (name, password) => {
      const auth = new UserStore(
        { [name]: user({ scram: await keysOf(password) }) },
        new FakeClock(),
      )
      const client = new ScramClient(name, password)
      const login = new ScramLogin(auth, ADDRESS)
      const { principal, serverFinal } = await login.final(client.final(login.first(client.first)))
      t.is(principal.name, name)
      t.is(serverFinal.toString(), client.serverFinal)
      const wrong = new ScramClient(name, `${password}!`)
      const second = new ScramLogin(auth, ADDRESS)
      await refused(t, () => second.final(wrong.final(second.first(wrong.first))))
    }),
    { numRuns: 20 },
  )
})

test('a name that is unknown, one without keys and one that is known begin alike, and end alike', async (t) => {
  const users = {
    known: user({ scram: await keysOf('pencil', 5000) }),
    old: user({ password: cheapHash('pencil') }),
  }
  const begin = (name: string): string => {
    const login = new ScramLogin(new UserStore(users, new FakeClock()), ADDRESS, () => 'x')
    return login.first(new ScramClient(name, 'pencil').first).toString()
  }
  for (const name of ['known', 'old', 'nobody']) {
    t.regex(begin(name), /^r=fyko\+d2lbbFgONRv9qkxdawLx,s=[A-Za-z0-9+/]{22}==,i=(5000|100000)$/)
    // The same after a restart.
    t.is(begin(name), begin(name))
  }
  t.not(begin('old'), begin('nobody'))
  const auth = new UserStore(users, new FakeClock())
  for (const name of ['old', 'nobody']) {
    const client = new ScramClient(name, 'pencil')
    const login = new ScramLogin(auth, ADDRESS)
    await refused(
      t,
      () => login.final(client.final(login.first(client.first))),
      /^unknown user or wrong password$/,
    )
  }
})

test('unknown users seem to have keys of each kind that known ones have, or get at run time', async (t) => {
  const keys = scramText(await deriveScramKeys('pencil', Buffer.alloc(24, 7), 4096))
  const auth = new UserStore({ ann: user({ scram: keys }) }, new FakeClock())
  const names = Array.from({ length: 200 }, (_, at) => `nobody-${at}`)
  const kinds = names.map((name) => {
    const { iterations, salt } = auth.scramKeys(name)
    return `${iterations} ${salt.length}`
  })
  t.deepEqual([...new Set(kinds)].toSorted(), ['100000 16', '4096 24'])
})

test('it is offered once each user with a password has keys', async (t) => {
  const scram = await keysOf('pencil')
  const password = cheapHash('pencil')
  const offered = (users: Record<string, User>): boolean =>
    new UserStore(users, new FakeClock()).isScramOffered
  t.false(offered({}))
  t.false(offered({ ann: user({ password }), bob: user({ password, scram }) }))
  t.true(offered({ ann: user({ password, scram }), rocket: user({ secretKey: 'sesame' }) }))
})

for (const [what, change, text] of [
  [
    'another nonce',
    (final: string) => final.replace('r=fyko', 'r=fykO'),
    /the nonce is another one/,
  ],
  [
    'another channel binding',
    (final: string) => final.replace('c=biws', 'c=eSws'),
    /channel binding/,
  ],
  [
    'a proof of the wrong length',
    (final: string) => final.replace(/p=.*$/, 'p=AAAA'),
    /wrong password/,
  ],
  ['no proof', (final: string) => final.replace(/,p=.*$/, ''), /malformed/],
  ['an empty message', () => '', /malformed/],
] as const) {
  test(`${what} is refused`, async (t) => {
    const auth = new UserStore({ ann: user({ scram: await keysOf('pencil') }) }, new FakeClock())
    const client = new ScramClient('ann', 'pencil')
    const login = new ScramLogin(auth, ADDRESS)
    const final = client.final(login.first(client.first)).toString()
    await refused(t, () => login.final(Buffer.from(change(final))), text)
    // One try.
    await refused(t, () => login.final(Buffer.from(final)), /without a first one/)
  })
}

for (const [what, first, text] of [
  ['a client that insists on channel binding', 'p=tls-unique,,n=ann,r=abc', /channel binding/],
  ['a user in the name of another', 'n,a=bob,n=ann,r=abc', /in the name of another/],
  ['a reserved extension', 'n,,m=x,n=ann,r=abc', /malformed/],
  ['a name with a bare equals sign', 'n,,n=a=b,r=abc', /malformed user name/],
  ['a message of absurd length', `n,,n=${'a'.repeat(1_024)},r=abc`, /malformed/],
] as const) {
  test(`${what} is refused`, async (t) => {
    const auth = new UserStore({ ann: user({ scram: await keysOf('pencil') }) }, new FakeClock())
    await refused(t, () => new ScramLogin(auth, ADDRESS).first(Buffer.from(first)), text)
  })
}

test('wrong proofs of an address wait as wrong passwords do', async (t) => {
  const clock = new FakeClock()
  const auth = new UserStore({ ann: user({ scram: await keysOf('pencil') }) }, clock)
  const attempt = async (password: string): Promise<string> => {
    const client = new ScramClient('ann', password)
    const login = new ScramLogin(auth, ADDRESS)
    return (await login.final(client.final(login.first(client.first)))).principal.name
  }
  for (let n = 0; n < 21; n++) await refused(t, () => attempt('wrong'))
  let isDone = false
  const late = attempt('pencil').then(() => {
    isDone = true
  })
  await new Promise(setImmediate)
  t.false(isDone)
  clock.advance(5_000)
  await late
})

test('a user that is made at run time logs in by it, and no more with an old password', async (t) => {
  const auth = new UserStore({ root: user({ admin: true, secretKey: 'sesame' }) }, new FakeClock())
  const accounts = new Accounts(new MemoryStates(), auth.accountUsers, silentLogger)
  await accounts.open()
  await accounts.create('kim', { password: 'first' })
  const attempt = async (password: string): Promise<string> => {
    const client = new ScramClient('kim', password)
    const login = new ScramLogin(auth, ADDRESS)
    return (await login.final(client.final(login.first(client.first)))).principal.name
  }
  t.true(auth.isScramOffered)
  t.is(await attempt('first'), 'kim')
  const client = new ScramClient('kim', 'first')
  const begun = new ScramLogin(auth, ADDRESS)
  const final = client.final(begun.first(client.first))
  await accounts.update('kim', { password: 'second' })
  await refused(t, () => begun.final(final))
  await refused(t, () => attempt('first'))
  t.is(await attempt('second'), 'kim')
})

test('an account of a version without SCRAM logs in by its password alone', async (t) => {
  const auth = new UserStore({ root: user({ admin: true, secretKey: 'sesame' }) }, new FakeClock())
  const old = {
    name: 'kim',
    secretKey: 'first',
    password: cheapHash('first'),
    type: 'Normal',
    isEnabled: true,
    policies: [],
  }
  const accounts = new Accounts(
    new MemoryStates(['access/user/kim', Buffer.from(JSON.stringify(old))]),
    auth.accountUsers,
    silentLogger,
  )
  await accounts.open()
  t.false(auth.isScramOffered)
  t.is((await auth.verifyPassword('kim', 'first', ADDRESS)).name, 'kim')
  await accounts.update('kim', { password: 'first' })
  t.true(auth.isScramOffered)
})

test('keys as text are read as they were written, and anything else is refused', async (t) => {
  const keys = await deriveScramKeys('pencil', SALT, 4096)
  t.deepEqual(parseScramKeys(scramText(keys)), keys)
  for (const text of [
    '',
    'pencil',
    scramText({ ...keys, iterations: 4095 }),
    scramText({ ...keys, storedKey: keys.storedKey.subarray(1) }),
  ]) {
    t.throws(() => parseScramKeys(text), { code: 'CONFIG_INVALID' })
  }
})

/** The states of a broker, as far as accounts need them. */
class MemoryStates {
  readonly #entries = new Map<string, StateEntry>()
  readonly #watchers = new Set<(news: StateNews) => void>()

  constructor(...known: readonly (readonly [string, Buffer])[]) {
    for (const [id, value] of known) this.#set(id, value)
  }

  async save(id: string, value: Uint8Array): Promise<StateVersion> {
    return this.#set(id, Buffer.from(value)).version
  }

  async delete(id: string): Promise<void> {
    this.#entries.delete(id)
  }

  async *list(): AsyncIterable<readonly StateEntry[]> {
    yield [...this.#entries.values()]
  }

  watch(_prefix: string, changed: (news: StateNews) => void): Disposable {
    this.#watchers.add(changed)
    return { [Symbol.dispose]: () => void this.#watchers.delete(changed) }
  }

  #set(id: string, value: Buffer): StateEntry {
    const version = ((this.#entries.get(id)?.version ?? 0) + 1) as StateVersion
    const entry = { id, value, version } as StateEntry
    this.#entries.set(id, entry)
    return entry
  }
}
