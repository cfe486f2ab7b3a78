import test, { type ExecutionContext } from 'ava'
import type { Authenticator } from '../../../src/access/auth.ts'
import type { User } from '../../../src/access/known-users.ts'
import { makeScramKeys, scramText } from '../../../src/access/secrets/scram-keys.ts'
import { BrokerError } from '../../../src/errors.ts'
import { SaslExchange } from '../../../src/gateway/amqp/sasl.ts'
import {
  type AmqpServer,
  type AmqpServerOptions,
  startAmqp,
} from '../../support/amqp/amqp-server.ts'
import {
  AMQP_HEADER,
  begin,
  connectRaw,
  frame,
  SASL_HEADER,
  saslFrame,
} from '../../support/amqp/raw-amqp.ts'
import { connectRhea } from '../../support/amqp/rhea-client.ts'
import { cheapHash } from '../../support/cheap-password.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { hangingAuth } from '../../support/hanging-auth.ts'
import { ScramClient } from '../../support/peers/scram-client.ts'
import { StillSocket } from '../../support/peers/still-socket.ts'
import { eventually } from '../../support/waiting.ts'

const PASSWORD = 'correct horse'
const rightless: User = { admin: false, publish: [], consume: [], create: [] }

async function startWithUsers(
  t: ExecutionContext,
  options: AmqpServerOptions = {},
): Promise<AmqpServer> {
  const password = cheapHash(PASSWORD)
  const user = (rights: Partial<User>): User => ({
    password,
    admin: false,
    publish: [],
    consume: [],
    create: [],
    ...rights,
  })
  return startAmqp(t, {
    limits: { authFailureDelayMs: 1 },
    users: {
      ada: user({ admin: true }),
      bob: user({ publish: ['orders'], consume: ['orders', 'billing', 'q-*'], create: ['orders'] }),
    },
    ...options,
  })
}

const plain = (user: string, password: string): Buffer =>
  Buffer.from(`\u0000${user}\u0000${password}`)

test('a user with the right password may act', async (t) => {
  const { port } = await startWithUsers(t)
  const client = await connectRhea(t, port, { username: 'ada', password: PASSWORD })
  const sender = await client.sender('orders')
  t.is((await sender.send({ body: 'x' })).kind, 'accepted')
})

const scram = async (): Promise<Partial<User>> => ({
  scram: scramText(await makeScramKeys(PASSWORD)),
})

for (const [what, password, outcome] of [
  ['the right password', PASSWORD, 0],
  ['a wrong password', 'wrong', 1],
] as const) {
  test(`a login by SCRAM-SHA-256 with ${what}`, async (t) => {
    const { ann } = { ann: { ...rightless, ...(await scram()) } }
    const { port } = await startWithUsers(t, { users: { ann } })
    const peer = await connectRaw(t, port)
    const client = new ScramClient('ann', password)
    const init = { mechanism: 'SCRAM-SHA-256', initial_response: client.first }
    peer.send(SASL_HEADER, saslFrame('sasl_init', init))
    const challenge = await eventually(
      async () => /r=[^,]+,s=[A-Za-z0-9+/=]+,i=\d+/.exec(peer.bytes.toString('latin1'))?.[0],
    )
    peer.send(saslFrame('sasl_response', { response: client.final(Buffer.from(challenge)) }))
    if (outcome === 0) {
      // With it the client knows that it speaks with a server that knows its password.
      await eventually(async () => peer.bytes.includes(client.serverFinal) || undefined)
      peer.send(AMQP_HEADER)
      await eventually(async () => peer.bytes.subarray(8).includes(AMQP_HEADER) || undefined)
    } else {
      await peer.closed
      t.is(peer.bytes.at(-1), 1)
    }
    t.pass()
  })
}

test('SCRAM is offered where every user with a password has keys', async (t) => {
  const has = async (users: Record<string, User>): Promise<boolean> => {
    const peer = await connectRaw(t, (await startWithUsers(t, { users })).port)
    peer.send(SASL_HEADER)
    await eventually(async () => peer.bytes.includes('PLAIN') || undefined)
    return peer.bytes.includes('SCRAM-SHA-256')
  }
  const keys = await scram()
  const password = cheapHash(PASSWORD)
  t.true(await has({ ann: { ...rightless, ...keys, password } }))
  t.false(await has({ ann: { ...rightless, ...keys, password }, bob: { ...rightless, password } }))
})

for (const [what, username, password] of [['a wrong password', 'ada', 'wrong']] as const) {
  test(`${what} is refused and the connection closed`, async (t) => {
    const { port, gateway } = await startWithUsers(t)
    const peer = await connectRaw(t, port)
    const init = { mechanism: 'PLAIN', initial_response: plain(username, password) }
    peer.send(SASL_HEADER, saslFrame('sasl_init', init), AMQP_HEADER)
    await peer.closed
    t.is(peer.bytes.at(-1), 1, 'the outcome is auth')
    t.false(peer.bytes.subarray(8).includes(AMQP_HEADER))
    await eventually(async () => (gateway.connections === 0 ? true : undefined))
  })
}

test('one connection gets one try', async (t) => {
  const { port } = await startWithUsers(t)
  const peer = await connectRaw(t, port)
  const tries = ['wrong', PASSWORD].map((password) =>
    saslFrame('sasl_init', { mechanism: 'PLAIN', initial_response: plain('ada', password) }),
  )
  peer.send(SASL_HEADER, ...tries, AMQP_HEADER, frame('open', { container_id: 'x' }))
  await peer.closed
  t.is(peer.bytes.at(-1), 1)
})

test('a wrong password is answered late', async (t) => {
  const clock = new FakeClock()
  const { port } = await startWithUsers(t, { clock, limits: { authFailureDelayMs: 300 } })
  const peer = await connectRaw(t, port)
  const init = { mechanism: 'PLAIN', initial_response: plain('ada', 'wrong') }
  peer.send(SASL_HEADER, saslFrame('sasl_init', init))
  let isOver = false
  void peer.closed.then(() => {
    isOver = true
  })
  await eventually(async () => {
    if (!isOver) await clock.advanceAsync(20)
    return isOver
  })
  t.is(peer.bytes.at(-1), 1, 'the outcome is auth')
  t.true(clock.monotonic() >= 300)
})

for (const [failure, code, what] of [
  [new BrokerError('BUSY', 'too many checks wait'), 4, 'told to try again'],
  [new BrokerError('UNAUTHENTICATED', 'no such user or password'), 1, 'refused for good'],
] as const) {
  test(`a peer whose password check ends with ${failure.code} is ${what}`, async (t) => {
    const auth = {
      anonymousAllowed: false,
      verifyPassword: () => Promise.reject(failure),
    } as unknown as Authenticator
    const init = { mechanism: 'PLAIN', initial_response: plain('ada', 'x') }
    const bytes = saslFrame('sasl_init', init)
    const step = await new SaslExchange(auth, new StillSocket()).take(bytes, 8, bytes.length)
    t.is(step.kind, 'refused')
    t.is((step as { frame: Buffer }).frame.at(-1), code)
  })
}

test('the password of a peer that has gone is not checked any more', async (t) => {
  const hanging = hangingAuth()
  const { port, gateway } = await startAmqp(t, { auth: hanging.auth })
  const peer = await connectRaw(t, port)
  const init = { mechanism: 'PLAIN', initial_response: plain('ada', PASSWORD) }
  peer.send(SASL_HEADER, saslFrame('sasl_init', init))
  await eventually(async () => hanging.asked === 1 || undefined)
  peer.socket.destroy()
  await eventually(async () => hanging.wanted === 0 || undefined)
  await eventually(async () => gateway.connections === 0 || undefined)
  t.pass()
})

test('where there are users no client is anonymous, with a security layer or without', async (t) => {
  const { port } = await startWithUsers(t)
  const layered = await connectRaw(t, port)
  layered.send(SASL_HEADER, saslFrame('sasl_init', { mechanism: 'ANONYMOUS' }))
  await layered.closed
  t.false(layered.bytes.includes('ANONYMOUS'))
  t.true(layered.bytes.includes('PLAIN'))
  t.is(layered.bytes.at(-1), 1)
  const bare = await connectRaw(t, port)
  bare.send(AMQP_HEADER, frame('open', { container_id: 'x' }))
  await bare.closed
  t.deepEqual(bare.bytes, SASL_HEADER)
})

test('a user may say that it acts in its own name', async (t) => {
  const { port } = await startWithUsers(t)
  const peer = await connectRaw(t, port)
  const initial_response = Buffer.from(`ada\u0000ada\u0000${PASSWORD}`)
  peer.send(SASL_HEADER, saslFrame('sasl_init', { mechanism: 'PLAIN', initial_response }))
  peer.send(AMQP_HEADER, frame('open', { container_id: 'x' }))
  await peer.frame('open')
  t.pass()
})

test('credentials may follow a challenge', async (t) => {
  const { port } = await startWithUsers(t)
  const peer = await connectRaw(t, port)
  peer.send(SASL_HEADER, saslFrame('sasl_init', { mechanism: 'PLAIN' }))
  peer.send(saslFrame('sasl_response', { response: plain('ada', PASSWORD) }))
  peer.send(AMQP_HEADER, frame('open', { container_id: 'x' }), begin())
  await peer.frame('begin')
  t.pass()
})

for (const [what, response] of [
  ['nothing', Buffer.alloc(0)],
  ['no separators', Buffer.from('ada')],
  ['too many parts', Buffer.from('\u0000ada\u0000x\u0000y')],
  ['no user', Buffer.from('\u0000\u0000x')],
  ["another user's name to act in", Buffer.from(`bob\u0000ada\u0000${PASSWORD}`)],
  ['a very long password', plain('ada', 'x'.repeat(3000))],
] as const) {
  test(`PLAIN with ${what} is refused`, async (t) => {
    const { port } = await startWithUsers(t)
    const peer = await connectRaw(t, port)
    const init = { mechanism: 'PLAIN', initial_response: response }
    peer.send(SASL_HEADER, saslFrame('sasl_init', init))
    await peer.closed
    t.is(peer.bytes.at(-1), 1)
  })
}

test('rights are checked for every link', async (t) => {
  const { port } = await startWithUsers(t)
  const bob = await connectRhea(t, port, { username: 'bob', password: PASSWORD })
  const sender = await bob.sender('orders')
  t.is((await sender.send({ body: 'x' })).kind, 'accepted')
  await bob.receiver('orders::billing')
  await bob.receiver('orders')
  const denied: Promise<unknown>[] = [
    bob.sender('secrets'),
    bob.sender('/groups/billing2/dlq'),
    bob.receiver('secrets'),
    bob.receiver('orders::others'),
    bob.receiver('/topics/secrets/broadcast'),
  ]
  for (const attempt of denied) {
    const error = await t.throwsAsync(attempt as Promise<never>, { any: true })
    t.like(error, { condition: 'amqp:unauthorized-access' })
  }
})

test('rights are checked for every relayed message', async (t) => {
  const { port } = await startWithUsers(t)
  const bob = await connectRhea(t, port, { username: 'bob', password: PASSWORD })
  const relay = await bob.sender({ target: {} })
  t.is((await relay.send({ to: 'orders', body: 'x' })).kind, 'accepted')
  const refused = await relay.send({ to: 'secrets', body: 'x' })
  t.is(refused.kind, 'rejected')
  t.is(refused.error?.condition, 'amqp:unauthorized-access')
})
