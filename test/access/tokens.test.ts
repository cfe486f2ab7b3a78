// JSON Web Tokens: which are believed, and the doors that take them.
import { generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto'
import { utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { type JWTPayload, SignJWT, UnsecuredJWT } from 'jose'
import mqtt, { type IDisconnectPacket } from 'mqtt'
import type { User } from '../../src/access/known-users.ts'
import { type TokenKey, TokenKeys } from '../../src/access/secrets/token-keys.ts'
import { Tokens } from '../../src/access/tokens.ts'
import { UserStore } from '../../src/access/user-store.ts'
import { systemClock } from '../../src/clock.ts'
import { silentLogger } from '../../src/log.ts'
import { connectRaw, SASL_HEADER, saslFrame } from '../support/amqp/raw-amqp.ts'
import { connectRhea, next } from '../support/amqp/rhea-client.ts'
import { cheapHash } from '../support/cheap-password.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { ask, basic } from '../support/http.ts'
import { mqttClient, type Version } from '../support/mqtt/mqtt.ts'
import { connect } from '../support/mqtt/mqtt-packets.ts'
import { overridden } from '../support/overridden.ts'
import { RawPeer } from '../support/peers/raw-peer.ts'
import { startServer } from '../support/server.ts'
import { tempDir } from '../support/temp-dir.ts'
import { eventually } from '../support/waiting.ts'

const ADDRESS = '10.0.0.1'
const OPTIONS = { issuer: 'https://id.example', audience: 'trivet', userClaim: 'sub' }

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const secret = randomBytes(32)

const jwk = (key: KeyObject, more: object): TokenKey =>
  ({ ...key.export({ format: 'jwk' }), ...more }) as unknown as TokenKey

const KEYS: readonly TokenKey[] = [
  { kty: 'oct', kid: 'hs', k: secret.toString('base64url') },
  jwk(rsa.publicKey, { kid: 'rs', use: 'sig', alg: 'RS256' }),
  jwk(ec.publicKey, { kid: 'es' }),
]

const SIGNERS = {
  HS256: ['hs', secret],
  RS256: ['rs', rsa.privateKey],
  ES256: ['es', ec.privateKey],
} as const
type Alg = keyof typeof SIGNERS

const nowSeconds = (): number => Math.floor(systemClock.now() / 1000)

type Changed = Readonly<Record<string, unknown>>

/** A claim that is undefined is left out. */
const claimsOf = (changed: Changed): JWTPayload => {
  const usual = { sub: 'ann', iss: OPTIONS.issuer, aud: OPTIONS.audience, exp: nowSeconds() + 60 }
  return JSON.parse(JSON.stringify({ ...usual, ...changed })) as JWTPayload
}

const tokenOf = (alg: Alg, changed: Changed = {}, kid: string | undefined = SIGNERS[alg][0]) =>
  new SignJWT(claimsOf(changed))
    .setProtectedHeader({ alg, ...(kid !== '' && { kid }) })
    .sign(SIGNERS[alg][1])

const user = (changed: Partial<User>): User => ({
  ...{ admin: false, publish: [], consume: [], create: [] },
  ...changed,
})

const openWith = (keys: readonly TokenKey[] = KEYS) =>
  new UserStore(
    { ann: user({ publish: ['orders'] }) },
    systemClock,
    undefined,
    new Tokens(OPTIONS, { current: keys }, systemClock),
  )

for (const alg of ['HS256', 'RS256', 'ES256'] as const) {
  test(`a token by ${alg} is its user, alone and as the password of that user`, async (t) => {
    const auth = openWith()
    const token = await tokenOf(alg)
    t.is((await auth.verifyToken(token, ADDRESS)).name, 'ann')
    t.is((await auth.verifyPassword('ann', token, ADDRESS)).name, 'ann')
    await t.throwsAsync(auth.verifyPassword('bob', token, ADDRESS), { code: 'UNAUTHENTICATED' })
    const unnamed = await tokenOf(alg, {}, '')
    t.is((await auth.verifyToken(unnamed, ADDRESS)).name, 'ann')
  })
}

for (const [what, make, text] of [
  ['an expired token', () => tokenOf('RS256', { exp: nowSeconds() - 60 }), /"exp"/],
  ['one without an end', () => tokenOf('RS256', { exp: undefined }), /"exp"/],
  ['one that is not valid yet', () => tokenOf('RS256', { nbf: nowSeconds() + 60 }), /"nbf"/],
  ['one for another service', () => tokenOf('RS256', { aud: 'other' }), /"aud"/],
  ['one for no service', () => tokenOf('RS256', { aud: undefined }), /"aud"/],
  ['one of another issuer', () => tokenOf('RS256', { iss: 'https://other.example' }), /"iss"/],
  ['one that names no user', () => tokenOf('RS256', { sub: undefined }), /"sub"/],
  ['one whose user is no name', () => tokenOf('RS256', { sub: '' }), /no name/],
  [
    'one of a user that is unknown',
    () => tokenOf('RS256', { sub: 'eve' }),
    /no user that is known/,
  ],
  ['one of an unknown key', () => tokenOf('RS256', {}, 'other'), /no key/],
  ['one that names a key of another kind', () => tokenOf('RS256', {}, 'es'), /no key/],
  ['one that is not signed', async () => new UnsecuredJWT(claimsOf({})).encode(), /"alg"/],
  [
    'one by an algorithm that is not taken',
    () =>
      new SignJWT(claimsOf({}))
        .setProtectedHeader({ alg: 'HS512', kid: 'hs' })
        .sign(randomBytes(64)),
    /"alg"/,
  ],
  [
    'one whose secret is the public key',
    () => {
      const known = Buffer.from(rsa.publicKey.export({ type: 'spki', format: 'pem' }))
      return new SignJWT(claimsOf({})).setProtectedHeader({ alg: 'HS256', kid: 'rs' }).sign(known)
    },
    /no key/,
  ],
  [
    'one that was changed',
    async () => {
      const [head, , signature] = (await tokenOf('ES256')).split('.')
      const claims = Buffer.from(JSON.stringify(claimsOf({ sub: 'root' }))).toString('base64url')
      return `${head}.${claims}.${signature}`
    },
    /signature/,
  ],
  ['one that is too long', () => tokenOf('HS256', { note: 'x'.repeat(8_192) }), /longer than 8192/],
] as const) {
  test(`${what} is refused, with why`, async (t) => {
    const refused = openWith().verifyToken(await make(), ADDRESS)
    await t.throwsAsync(refused, { code: 'UNAUTHENTICATED', message: text })
  })
}

test('without kid one of several keys of its kind is not guessed', async (t) => {
  const other = { kty: 'oct', kid: 'hs2', k: randomBytes(32).toString('base64url') }
  const refused = openWith([...KEYS, other]).verifyToken(await tokenOf('HS256', {}, ''), ADDRESS)
  await t.throwsAsync(refused, { message: /several keys/ })
})

test('wrong tokens of an address wait as wrong passwords do, and right ones for none of them', async (t) => {
  const clock = new FakeClock()
  const tokens = new Tokens(OPTIONS, { current: KEYS }, systemClock)
  const auth = new UserStore({ ann: user({}) }, clock, undefined, tokens)
  const [right, wrong] = [await tokenOf('HS256'), await tokenOf('HS256', { aud: 'other' })]
  for (let n = 0; n < 21; n++) await t.throwsAsync(auth.verifyToken(wrong, ADDRESS))
  let isTold = false
  const told = t
    .throwsAsync(auth.verifyToken(wrong, ADDRESS), { code: 'UNAUTHENTICATED' })
    .finally(() => {
      isTold = true
    })
  t.is((await auth.verifyToken(right, ADDRESS)).name, 'ann')
  t.is((await auth.verifyPassword('ann', right, ADDRESS)).name, 'ann')
  t.false(isTold)
  while (!isTold) {
    clock.advance(5_000)
    await new Promise((resolve) => setImmediate(resolve))
  }
  await told
})

async function keysFile(t: ExecutionContext, keys: unknown = { keys: KEYS }): Promise<string> {
  const path = join(await tempDir(t), 'jwks.json')
  writeFileSync(path, JSON.stringify(keys))
  return path
}

test('the keys are read again when their file changes, and stay when it is wrong', async (t) => {
  const path = await keysFile(t)
  const clock = new FakeClock()
  const keys = new TokenKeys(path, clock, silentLogger)
  const change = (content: string): void => {
    writeFileSync(path, content)
    utimesSync(path, new Date(), new Date(clock.now() + 1))
    clock.advance(1_000)
  }
  change('{"keys": [')
  t.is(keys.current.length, 3)
  change(JSON.stringify({ keys: KEYS.slice(1) }))
  t.is(keys.current.length, 2)
})

test('a file that is no set of keys, or has a short secret, is refused at the start', async (t) => {
  for (const [content, text] of [
    [[], /is no JWK set/],
    [{ keys: [{}] }, /without 'kty'/],
    [{ keys: [{ kty: 'oct', k: randomBytes(31).toString('base64url') }] }, /less than 32 bytes/],
    [{ keys: [{ kty: 'oct', k: 7 }] }, /less than 32 bytes/],
  ] as const) {
    const path = await keysFile(t, content)
    const open = () => new TokenKeys(path, new FakeClock(), silentLogger)
    t.throws(open, { code: 'CONFIG_INVALID', message: text })
  }
  const missing = () => new TokenKeys('/nowhere/jwks.json', new FakeClock(), silentLogger)
  t.throws(missing, { code: 'CONFIG_INVALID', message: /cannot be read \(ENOENT\)/ })
})

test('keys without an audience are refused', async (t) => {
  const config = { jwt: { keys: await keysFile(t) } }
  await t.throwsAsync(startServer(t, { config }), {
    code: 'CONFIG_INVALID',
    message: /jwt\.audience/,
  })
})

test('MQTT, AMQP and HTTP take a token, with the rights of its user, and refuse a wrong one', async (t) => {
  const { issuer, audience } = OPTIONS
  const server = await startServer(t, {
    config: {
      jwt: { keys: await keysFile(t), issuer, audience },
      users: {
        ann: { publish: ['MQTT', 'orders'], create: ['orders'], consume: ['orders'] },
        root: { admin: true },
      },
    },
  })
  const [right, wrong] = [await tokenOf('RS256'), await tokenOf('RS256', { aud: 'other' })]
  const url = `mqtt://${server.address('mqtt')}`
  const open = (password: string) =>
    mqtt.connectAsync(url, { protocolVersion: 5, username: 'ann', password }, false)
  const device = await open(right)
  await t.notThrowsAsync(device.publishAsync('plant/7', 'x', { qos: 1 }))
  await device.endAsync()
  await t.throwsAsync(open(wrong))
  for (const [password, reason] of [
    [right, 0],
    [wrong, 0x86],
  ] as const) {
    const peer = await RawPeer.connect(server.port('mqtt'))
    t.teardown(() => peer.end())
    // MQTT 5 allows a password without a user name.
    peer.send(connect('c1', { version: 5, password }))
    t.is((await peer.readPacket()).body[1], reason)
  }
  const client = await connectRhea(t, server.port('amqp'), { username: 'ann', password: right })
  t.is((await (await client.sender('orders')).send({ body: 'x' })).kind, 'accepted')
  const peer = await connectRaw(t, server.port('amqp'))
  const plain = Buffer.from(`\u0000ann\u0000${wrong}`)
  peer.send(SASL_HEADER, saslFrame('sasl_init', { mechanism: 'PLAIN', initial_response: plain }))
  await peer.closed
  t.is(peer.bytes.at(-1), 1, 'the outcome is auth')
  const http = (headers: Record<string, string>, path = '/api/v1/topics') =>
    ask(server.port('http'), path, { headers })
  const bearer = (token: string) => ({ Authorization: `Bearer ${token}` })
  t.is((await http(bearer(right))).status, 200)
  t.is((await http(basic('ann', right))).status, 200)
  t.is((await http(bearer(right), '/api/v1/config')).status, 403)
  t.is((await http(bearer(await tokenOf('ES256', { sub: 'root' })), '/api/v1/config')).status, 200)
  const refused = await http(bearer(wrong))
  t.is(refused.status, 401)
  t.is(refused.headers['www-authenticate'], 'Bearer realm="trivet"')
  t.regex(refused.text, /the token is refused/)
  t.is((await http(bearer('not-a-token'))).status, 401)
})

test('a connection ends with the token that it came by, and says so; by a password it stays', async (t) => {
  const { issuer, audience } = OPTIONS
  let aheadMs = 0
  const clock = overridden(systemClock, { now: () => systemClock.now() + aheadMs })
  const config = {
    jwt: { keys: await keysFile(t), issuer, audience },
    users: {
      ann: { password: cheapHash('a word'), publish: ['MQTT', 'orders'], create: ['orders'] },
    },
  }
  const { port } = await startServer(t, { config, clock })
  const token = await tokenOf('RS256', { exp: nowSeconds() + 3_600 })
  const login = (clientId: string, password: string, version: Version = 5) =>
    mqttClient(t, port('mqtt'), version, { clientId, username: 'ann', password })
  const [device, old, stays] = [
    await login('device', token),
    await login('old', token, 4),
    await login('stays', 'a word'),
  ]
  const ended = new Promise<IDisconnectPacket>((resolve) => {
    device.client.once('disconnect', resolve)
  })
  const closed = new Promise<void>((resolve) => old.client.once('close', () => resolve()))
  const amqp = (password: string) => connectRhea(t, port('amqp'), { username: 'ann', password })
  const [till, office] = [await amqp(token), await amqp('a word')]
  const error = next(till.connection, 'connection_error')
  aheadMs = 3_600_000 + 31_000
  const { reasonCode, properties } = await ended
  t.is(reasonCode, 0xa0)
  t.regex(String(properties?.reasonString), /token .* has expired/)
  await closed
  const { connection } = await error
  t.like(connection.error, {
    condition: 'amqp:unauthorized-access',
    description: 'the token of this connection has expired: bring a new one',
  })
  await stays.publish('orders', 'x')
  t.is((await (await office.sender('orders')).send({ body: 'x' })).kind, 'accepted')
  await t.throwsAsync(login('again', token))
})

test('where tokens are taken AMQP offers no mechanism by which none can come', async (t) => {
  const { issuer, audience } = OPTIONS
  const users = { ann: { publish: ['orders'] } }
  const jwt = { keys: await keysFile(t), issuer, audience }
  const server = await startServer(t, { config: { jwt, users } })
  const peer = await connectRaw(t, server.port('amqp'))
  peer.send(SASL_HEADER)
  await eventually(async () => peer.bytes.includes('PLAIN') || undefined)
  // Clients take the strongest, with the token as the password.
  t.false(peer.bytes.includes('SCRAM'))
})

test('where no keys are set, a token is a wrong password and no bearer', async (t) => {
  const auth = new UserStore({ ann: user({}) }, systemClock)
  const token = await tokenOf('HS256')
  await t.throwsAsync(auth.verifyToken(token, ADDRESS), { message: /takes no tokens/ })
  await t.throwsAsync(auth.verifyPassword('ann', token, ADDRESS), { message: /wrong password/ })
})
