// One list of users for every protocol, seen by unmodified clients over real sockets.
import test, { type ExecutionContext } from 'ava'
import mqtt from 'mqtt'
import { aliOns } from '../interop-tests/support/ali-ons-client.ts'
import { connect } from '../src/client/index.ts'
import { systemClock } from '../src/clock.ts'
import type { ConfigInput } from '../src/config.ts'
import { BrokerError } from '../src/errors.ts'
import { REQUEST } from '../src/remoting/codes.ts'
import { dial } from '../src/remoting/connection.ts'
import { type JsonOut, jsonBody } from '../src/remoting/json/json-emitter.ts'
import { connectRhea, next } from './support/amqp/rhea-client.ts'
import { cheapHash } from './support/cheap-password.ts'
import { send } from './support/native/native-front-end.ts'
import { startServer, type TestServer } from './support/server.ts'

async function serverWithUsers(
  t: ExecutionContext,
  more: NonNullable<ConfigInput['users']> = {},
): Promise<TestServer> {
  const users = {
    ...more,
    sensor: {
      password: cheapHash('right'),
      publish: ['telemetry'],
    },
    rocket: { secretKey: 'secret-of-rocket', publish: ['orders'], consume: ['orders', 'billing'] },
    root: { password: cheapHash('right'), secretKey: 'secret-of-root', admin: true },
  }
  const server = await startServer(t, { config: { users } })
  await using admin = await connect({
    nameServers: server.address('nameServer'),
    auth: { accessKey: 'root', secretKey: 'secret-of-root' },
  })
  for (const name of ['orders', 'telemetry']) await admin.admin.topics.create({ name })
  return server
}

function mqttLogin(server: TestServer, username?: string, password?: string) {
  return mqtt.connectAsync(`mqtt://${server.address('mqtt')}`, {
    protocolVersion: 5,
    reconnectPeriod: 0,
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
  })
}

/** MQTT 5 reason code of a refused login. */
async function refusedMqtt(t: ExecutionContext, login: Promise<unknown>): Promise<number> {
  const error = (await t.throwsAsync(login)) as Error & { code?: number }
  return error.code ?? -1
}

test('MQTT: user name and password let in, and nothing else does', async (t) => {
  const server = await serverWithUsers(t)
  const client = await mqttLogin(server, 'sensor', 'right')
  await client.publishAsync('telemetry/eu', '21', { qos: 1 })
  await client.endAsync()
  const wrong = await refusedMqtt(t, mqttLogin(server, 'sensor', 'wrong'))
  t.is(await refusedMqtt(t, mqttLogin(server, 'stranger', 'right')), wrong)
  t.true([0x86, 0x87].includes(wrong), `reason code ${wrong}`)
  t.true([0x86, 0x87].includes(await refusedMqtt(t, mqttLogin(server))))
})

test('MQTT: names without a topic of their own need a grant on the catch-all topic', async (t) => {
  const server = await serverWithUsers(t)
  const client = await mqttLogin(server, 'sensor', 'right')
  t.teardown(() => client.endAsync())
  await t.throwsAsync(client.publishAsync('nowhere/x', 'x', { qos: 1 }), { code: 0x87 as never })
})

test('MQTT: a publish without a grant is refused with Not authorized, and the next one goes on', async (t) => {
  const server = await serverWithUsers(t)
  const client = await mqttLogin(server, 'sensor', 'right')
  t.teardown(() => client.endAsync())
  const error = (await t.throwsAsync(
    client.publishAsync('orders/paid', 'x', { qos: 1 }),
  )) as Error & {
    code?: number
  }
  t.is(error.code, 0x87)
  await t.notThrowsAsync(client.publishAsync('telemetry/eu', '22', { qos: 1 }))
})

test('AMQP: PLAIN lets in, a wrong password and ANONYMOUS do not', async (t) => {
  const server = await serverWithUsers(t)
  const right = await connectRhea(t, server.port('amqp'), { username: 'sensor', password: 'right' })
  const sender = await right.sender('/topics/telemetry')
  t.is((await sender.send({ body: '21' })).kind, 'accepted')
  for (const wrong of [{ username: 'sensor', password: 'wrong' }, {}]) {
    await t.throwsAsync(connectRhea(t, server.port('amqp'), wrong), { any: true })
  }
})

test('AMQP: a link without a grant is refused as unauthorized', async (t) => {
  const server = await serverWithUsers(t)
  const client = await connectRhea(t, server.port('amqp'), {
    username: 'sensor',
    password: 'right',
  })
  const refused = (await t.throwsAsync(client.sender('/topics/orders'), { any: true })) as {
    condition?: string
  }
  t.is(refused.condition, 'amqp:unauthorized-access')
})

test('MQTT: a user that is made at run time logs in, and with its new password alone once it has one', async (t) => {
  const server = await serverWithUsers(t)
  const credentials = { accessKey: 'root', secretKey: 'secret-of-root' }
  const host = { host: '127.0.0.1', port: server.port('remoting') }
  const admin = await dial({ ...host, clock: systemClock, credentials })
  t.teardown(() => admin.close())
  const kim = new Map([['username', 'kim']])
  const ask = async (code: number, password: string): Promise<number> =>
    (await admin.request(code, { fields: kim, body: jsonBody({ password }), timeoutMs: 60_000 }))
      .code
  t.is(await ask(REQUEST.createUser, 'first password'), 0)
  await (await mqttLogin(server, 'kim', 'first password')).endAsync()
  t.is(await ask(REQUEST.updateUser, 'second password'), 0)
  await refusedMqtt(t, mqttLogin(server, 'kim', 'first password'))
  await (await mqttLogin(server, 'kim', 'second password')).endAsync()
})

const NO_ORDERS = { resource: 'Topic:orders', actions: ['Sub'], decision: 'Deny' }
const CHANGES = {
  'is disabled': [REQUEST.updateUser, { userStatus: 'disable' }],
  'has another password': [REQUEST.updateUser, { password: 'second' }],
  'is deleted': [REQUEST.deleteUser, {}],
  'has other rights': [
    REQUEST.createAcl,
    { policies: [{ policyType: 'Custom', entries: [NO_ORDERS] }] },
  ],
} as const

for (const [what, [code, body]] of Object.entries(CHANGES)) {
  test(`MQTT, AMQP: the open connections of a user that ${what} end, and those of others go on`, async (t) => {
    const server = await serverWithUsers(t)
    const credentials = { accessKey: 'root', secretKey: 'secret-of-root' }
    const host = { host: '127.0.0.1', port: server.port('remoting') }
    const admin = await dial({ ...host, clock: systemClock, credentials })
    t.teardown(() => admin.close())
    const kim = new Map([
      ['username', 'kim'],
      ['subject', 'User:kim'],
    ])
    const ask = async (asked: number, values: JsonOut): Promise<number> =>
      (await admin.request(asked, { fields: kim, body: jsonBody(values), timeoutMs: 60_000 })).code
    t.is(await ask(REQUEST.createUser, { password: 'first', userType: 'Super' }), 0)
    const [mqttClient, other] = [
      await mqttLogin(server, 'kim', 'first'),
      await mqttLogin(server, 'sensor', 'right'),
    ]
    t.teardown(() => Promise.all([mqttClient.endAsync(true), other.endAsync(true)]))
    await mqttClient.publishAsync('orders/paid', 'x', { qos: 1 })
    const left = new Promise<number | undefined>((resolve) => {
      mqttClient.once('disconnect', ({ reasonCode }) => resolve(reasonCode))
    })
    const amqp = await connectRhea(t, server.port('amqp'), { username: 'kim', password: 'first' })
    await amqp.receiver('orders::billing')
    const closed = next(amqp.connection, 'connection_error')
    t.is(await ask(code, body), 0)
    t.is(await left, 0x87)
    const { error } = (await closed).connection
    t.is((error as { condition?: string }).condition, 'amqp:unauthorized-access')
    await other.publishAsync('telemetry/eu', '21', { qos: 1 })
  })
}

test("RocketMQ: the ACL's signature lets in, a wrong key and no key do not", async (t) => {
  const server = await serverWithUsers(t)
  const nameServers = server.address('nameServer')
  const auth = { accessKey: 'rocket', secretKey: 'secret-of-rocket' }
  await using right = await connect({ nameServers, auth })
  await right.send({ topic: 'orders', body: 'x' })
  for (const wrong of [
    undefined,
    { ...auth, secretKey: 'guessed' },
    { ...auth, accessKey: 'who' },
  ]) {
    await using client = await connect({ nameServers, auth: wrong })
    const error = await t.throwsAsync(client.send({ topic: 'orders', body: 'x' }), {
      instanceOf: BrokerError,
    })
    t.true(['UNAUTHENTICATED', 'PERMISSION_DENIED'].includes(error.code), error.code)
  }
})

test('RocketMQ: the unmodified ali-ons signs as we check, and may do what is granted', async (t) => {
  const server = await serverWithUsers(t)
  const rocket = { accessKey: 'rocket', secretKey: 'secret-of-rocket' }
  const nameServer = server.address('nameServer')
  const common = { nameServer, topic: 'orders', ...rocket } as const
  const sent = await aliOns(t, { ...common, role: 'produce', count: 1 }).ends()
  t.is(sent.filter(({ event }) => event === 'sent').length, 1)
  const consumer = aliOns(t, { ...common, role: 'consume', group: 'billing' })
  t.is((await consumer.receives(1)).length, 1)
  await consumer.stop()
  const denied = await aliOns(t, { ...common, role: 'produce', topic: 'telemetry' }).ends()
  t.is(denied.filter(({ event }) => event === 'sent').length, 0)
})

test("a native sender cannot give its message another protocol's name: subscribers see the topic it went to", async (t) => {
  const server = await serverWithUsers(t)
  const subscriber = await mqttLogin(server, 'root', 'right')
  t.teardown(() => subscriber.endAsync())
  const names = new Promise<string>((resolve) => subscriber.on('message', (name) => resolve(name)))
  await subscriber.subscribeAsync('#', { qos: 1 })
  const sender = await dial({
    ...{ host: '127.0.0.1', port: server.port('remoting'), clock: systemClock },
    credentials: { accessKey: 'rocket', secretKey: 'secret-of-rocket' },
  })
  t.teardown(() => sender.close())
  const properties = { MQTT_TOPIC: 'alarms/fire', MQTT_RETAIN: '1', RETRY_TOPIC: 'telemetry' }
  t.is((await send(sender, { topic: 'orders', properties })).code, 0)
  t.is(await names, 'orders')
})

const ALLOWED = 'orders'
const DENIED = 'telemetry'

/** What a user may do with a topic by one protocol; an error other than a denial is thrown. */
interface Tried {
  readonly publish: boolean
  readonly consume: boolean
}

interface MqttRefusal {
  readonly code?: number
  readonly packet?: { readonly granted: readonly number[] }
}

type Attempt = (server: TestServer, topic: string) => Promise<Tried>

/** Whether it was let through. @throws what is no denial */
async function isLet(call: Promise<unknown>, isDenial: (error: never) => boolean) {
  try {
    await call
    return true
  } catch (error) {
    if (isDenial(error as never)) return false
    throw error
  }
}

const byMqtt: Attempt = async (server, topic) => {
  const client = await mqttLogin(server, 'both', 'right')
  const isDenial = ({ code, packet }: MqttRefusal): boolean =>
    code === 0x87 || packet?.granted[0] === 0x87
  const publish = await isLet(client.publishAsync(`${topic}/x`, 'x', { qos: 1 }), isDenial)
  const consume = await isLet(client.subscribeAsync(`$share/both/${topic}/#`, { qos: 1 }), isDenial)
  await client.endAsync()
  return { publish, consume }
}

test('RocketMQ: a user that may create a topic, and nothing else, creates it', async (t) => {
  const server = await serverWithUsers(t, {
    maker: { secretKey: 'secret-of-maker', create: ['made-*'] },
  })
  await using client = await connect({
    nameServers: server.address('nameServer'),
    auth: { accessKey: 'maker', secretKey: 'secret-of-maker' },
  })
  await client.admin.topics.create({ name: 'made-here' })
  await t.throwsAsync(client.admin.topics.create({ name: 'made-here' }), { code: 'TOPIC_EXISTS' })
  await t.throwsAsync(client.admin.topics.create({ name: 'other' }), { code: 'PERMISSION_DENIED' })
})

const byAmqp =
  (t: ExecutionContext): Attempt =>
  async (server, topic) => {
    const credentials = { username: 'both', password: 'right' }
    const client = await connectRhea(t, server.port('amqp'), credentials)
    const isDenial = ({ condition }: { condition?: string }): boolean =>
      condition === 'amqp:unauthorized-access'
    const publish = await isLet(client.sender(`/topics/${topic}`), isDenial)
    const consume = await isLet(client.receiver(`/topics/${topic}/groups/both`), isDenial)
    await client.close()
    return { publish, consume }
  }

const byRocketmq: Attempt = async (server, topic) => {
  await using client = await connect({
    nameServers: server.address('nameServer'),
    auth: { accessKey: 'both', secretKey: 'secret-of-both' },
  })
  const isDenial = ({ code }: { code?: string }): boolean => code === 'PERMISSION_DENIED'
  const publish = await isLet(client.send({ topic, body: 'x' }), isDenial)
  const consume = await isLet(client.poll({ topic, group: 'both' }), isDenial)
  return { publish, consume }
}

for (const [grant, publish, consume] of [
  ['to publish', [ALLOWED], []],
  ['to consume', [], [ALLOWED, 'both']],
  ['to do both', [ALLOWED], [ALLOWED, 'both']],
] as const) {
  test(`a grant ${grant} is decided the same in every protocol`, async (t) => {
    const both = { password: cheapHash('right'), secretKey: 'secret-of-both' }
    const server = await serverWithUsers(t, {
      both: { ...both, publish: [...publish], consume: [...consume] },
    })
    const due = { publish: publish.length > 0, consume: consume.length > 0 }
    for (const attempt of [byMqtt, byAmqp(t), byRocketmq]) {
      t.deepEqual(await attempt(server, ALLOWED), due)
      t.deepEqual(await attempt(server, DENIED), { publish: false, consume: false })
    }
  })
}

test('SDK: a user without admin rights sends and consumes at one broker, without a name server', async (t) => {
  const server = await serverWithUsers(t)
  await using mq = await connect({
    broker: server.address('remoting'),
    auth: { accessKey: 'rocket', secretKey: 'secret-of-rocket' },
  })
  await mq.send({ topic: 'orders', body: 'hello' })
  const wanted = { group: 'billing', topic: 'orders', from: 'first' } as const
  for await (const delivery of mq.subscribe(wanted)) {
    t.is(delivery.text(), 'hello')
    break
  }
})
