import { createServer } from 'node:net'
import test from 'ava'
import {
  type Client,
  connect,
  type NewTopic,
  type OutgoingMessage,
  type PullRequest,
} from '../../src/client/index.ts'
import { REQUEST, RESPONSE } from '../../src/remoting/codes.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { startFakeRocketmq } from '../support/native/fake-rocketmq.ts'
import { G, pair } from './pairing.ts'

/** An address of loopback where nothing listens. */
async function deadAddress(): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  return `127.0.0.1:${typeof address === 'object' ? address?.port : 0}`
}

test('connecting where nothing listens says which address and what to do', async (t) => {
  const nameServers = await deadAddress()
  const error = await t.throwsAsync(connect({ nameServers }), { code: 'UNREACHABLE' })
  t.true(error.message.includes(nameServers))
  t.regex(error.message, /trivet start/)
})

test('the next name server answers when the first is down, and stays the first choice', async (t) => {
  const fake = await startFakeRocketmq(t)
  const dead = await deadAddress()
  await using mq = await connect({ nameServers: `${dead}; ${fake.address}` })
  await mq.send({ topic: 'T', body: 'x' })
  t.deepEqual(fake.bodies('T'), ['x'])
})

test('a single broker is reached without asking where it says it is', async (t) => {
  const fake = await startFakeRocketmq(t)
  const config = 'brokerName=broker-a\nbrokerClusterName=C\nbrokerIP1=10.255.255.1\n'
  fake.intercept(REQUEST.getBrokerConfig, () => ({ body: Buffer.from(config) }))
  const topic = { topicName: 'T', readQueueNums: 1, writeQueueNums: 1, perm: 6 }
  fake.intercept(REQUEST.getTopicConfig, () => ({ body: Buffer.from(JSON.stringify(topic)) }))
  await using mq = await connect({ broker: fake.address })
  const { brokerName } = await mq.send({ topic: 'T', body: 'x' })
  t.is(brokerName, 'broker-a')
  t.is(fake.count(REQUEST.getRoute), 0)
})

test('connecting gives up when its signal says so', async (t) => {
  const fake = await startFakeRocketmq(t)
  fake.intercept(REQUEST.getClusterInfo, () => 'silence')
  const given = new AbortController()
  const connecting = connect({ nameServers: fake.address, signal: given.signal })
  setImmediate(() => given.abort(new Error('enough')))
  await t.throwsAsync(connecting, { message: 'enough' })
})

test('a name server that does not answer is not waited for beyond the request timeout', async (t) => {
  const fake = await startFakeRocketmq(t)
  fake.intercept(REQUEST.getClusterInfo, () => 'silence')
  const clock = new FakeClock()
  const connecting = connect({ nameServers: fake.address, clock })
  const failing = t.throwsAsync(connecting, { code: 'UNREACHABLE', message: /no answer within/ })
  while (fake.count(REQUEST.getClusterInfo) === 0) await clock.advanceAsync(0)
  await clock.advanceAsync(10_000)
  await failing
})

test('something else on the port is an error, not a hang', async (t) => {
  const server = createServer((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'))
  server.listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  t.teardown(() => server.close())
  const address = server.address()
  const nameServers = `127.0.0.1:${typeof address === 'object' ? address?.port : 0}`
  await t.throwsAsync(connect({ nameServers }), { code: 'UNREACHABLE', message: /a frame claims/ })
})

test('a broker in the place of a name server is called what it is, and the next one asked', async (t) => {
  const broker = await startFakeRocketmq(t)
  broker.intercept(REQUEST.getClusterInfo, () => ({ code: RESPONSE.requestCodeNotSupported }))
  const { address } = broker
  const message = new RegExp(`${address} is no name server.*--broker`)
  await t.throwsAsync(connect({ nameServers: address }), { code: 'UNREACHABLE', message })
  const fake = await startFakeRocketmq(t)
  await using mq = await connect({ nameServers: [address, fake.address] })
  t.is((await mq.admin.brokers()).length, 1)
})

test('what is read right behind the first send to a topic waits until its route is known', async (t) => {
  const { fake, mq } = await pair(t, {}, { topics: ['TBW102'] })
  const routeOf = (topic: string): number =>
    fake.requests.filter(({ code, fields }) => {
      return code === REQUEST.getRoute && fields.get('topic') === topic
    }).length
  fake.intercept(REQUEST.popMessage, () => ({ code: RESPONSE.pullNotFound }))
  fake.intercept(REQUEST.getRoute, () => {
    if (routeOf('New') === 4) fake.addTopic('New')
    return undefined
  })
  await t.throwsAsync(mq.pop({ group: 'g', topic: 'New' }), { code: 'TOPIC_NOT_FOUND' })
  await mq.send({ topic: 'New', body: 'x' })
  t.is(routeOf('New'), 2)
  t.deepEqual(await mq.pop({ group: 'g', topic: 'New' }), [])
  t.is(routeOf('New'), 4)
})

test('after close every call is refused, and a second close is the first', async (t) => {
  const fake = await startFakeRocketmq(t)
  const mq = await connect({ nameServers: fake.address })
  const closing = mq.close()
  t.is(mq.close(), closing)
  await closing
  await t.throwsAsync(mq.send({ topic: 'T', body: 'x' }), { code: 'CLOSED' })
  await t.throwsAsync(mq.poll({ group: 'g', topic: 'T' }), { code: 'CLOSED' })
  t.throws(() => mq.subscribe({ group: 'g', topic: 'T' }), { code: 'CLOSED' })
  t.deepEqual(await mq.status().next(), { done: true, value: undefined })
})

test('close does not wait for a broker that is down', async (t) => {
  const fake = await startFakeRocketmq(t)
  // Time stands still: a wait for anything would never end.
  const mq = await connect({ nameServers: fake.address, clock: new FakeClock() })
  await mq.consume({ group: 'g', topic: 'T' }, () => {})
  await fake.stop()
  await mq.close()
  t.pass()
})

test('close waits for the answer to a send that is under way', async (t) => {
  const fake = await startFakeRocketmq(t)
  const mq = await connect({ nameServers: fake.address })
  let answer: (value: undefined) => void = () => {}
  fake.intercept(
    REQUEST.sendMessageV2,
    () =>
      new Promise<undefined>((resolve) => {
        answer = resolve
      }),
  )
  const sending = mq.send({ topic: 'T', body: 'last words' })
  while (fake.count(REQUEST.sendMessageV2) === 0) await new Promise(setImmediate)
  const closing = mq.close()
  answer(undefined)
  t.truthy((await sending).messageId)
  await closing
})

test('the deadline of a close is one for consumers and sends together', async (t) => {
  const clock = new FakeClock()
  const fake = await startFakeRocketmq(t)
  fake.store('T', 0, 'x')
  const mq = await connect({ nameServers: fake.address, clock })
  fake.intercept(REQUEST.sendMessageV2, () => 'silence')
  let isHandled = false
  await mq.consume({ group: 'g', topic: 'T', from: 'first' }, () => {
    isHandled = true
    return new Promise(() => {})
  })
  const sending = mq.send({ topic: 'T', body: 'y' }, { timeoutMs: 60_000 })
  sending.catch(() => {})
  while (!isHandled || fake.count(REQUEST.sendMessageV2) === 0) await clock.advanceAsync(0)
  const closing = mq.close({ deadlineMs: 2000 })
  for (let i = 0; i < 50; i++) await clock.advanceAsync(0)
  await clock.advanceAsync(2000)
  await closing
  await t.throwsAsync(sending, { code: 'CLOSED' })
})

test('a topic is deleted also while one of the name servers is down', async (t) => {
  const fake = await startFakeRocketmq(t)
  const config = { topicName: 'T', readQueueNums: 1, writeQueueNums: 1, perm: 6 }
  fake.intercept(REQUEST.getTopicConfig, () => ({ body: Buffer.from(JSON.stringify(config)) }))
  const nameServers = [await deadAddress(), fake.address]
  await using mq = await connect({ nameServers })
  await mq.admin.topics.delete('T')
  t.is(fake.count(REQUEST.deleteTopicInNameServer), 1)
})

const CONSUMING = { group: 'g', topic: 'T' } as const

for (const [what, begin] of [
  ['consume', (mq: Client, signal: AbortSignal) => mq.consume({ ...CONSUMING, signal }, () => {})],
  ['poll', (mq: Client, signal: AbortSignal) => mq.poll(CONSUMING, { signal })],
] as const) {
  test(`${what} gives up joining its group when its signal says so`, async (t) => {
    const fake = await startFakeRocketmq(t)
    await using mq = await connect({ nameServers: fake.address })
    fake.intercept(REQUEST.getConsumerList, () => 'silence')
    const given = new AbortController()
    const beginning = begin(mq, given.signal)
    while (fake.count(REQUEST.getConsumerList) === 0) await new Promise(setImmediate)
    given.abort(new Error('enough'))
    await t.throwsAsync(beginning, { message: 'enough' })
  })
}

for (const [what, begin] of [
  ['subscribe', (mq: Client, signal: AbortSignal) => mq.subscribe({ ...CONSUMING, signal })],
  ['read', (mq: Client, signal: AbortSignal) => mq.read({ topic: 'T', signal })],
] as const) {
  test(`what ${what} iterates ends with the reason of its signal`, async (t) => {
    const fake = await startFakeRocketmq(t)
    await using mq = await connect({ nameServers: fake.address })
    const given = new AbortController()
    const iterator = begin(mq, given.signal)
    await iterator.ready
    for (const body of ['0', '1']) fake.store('T', 0, body)
    t.is((await iterator.next()).value?.text(), '0')
    given.abort(new Error('enough'))
    await t.throwsAsync(iterator.next(), { message: 'enough' })
    t.throws(() => begin(mq, given.signal), { message: 'enough' })
  })
}

test('status tells of connections made and lost, and ends with the client', async (t) => {
  const fake = await startFakeRocketmq(t)
  const mq = await connect({ nameServers: fake.address })
  const status = mq.status()
  await mq.send({ topic: 'T', body: 'x' })
  t.deepEqual(await status.next(), {
    done: false,
    value: { type: 'connected', address: fake.address },
  })
  fake.cutAll()
  const { value } = await status.next()
  t.is(value.type, 'disconnected')
  await mq.close()
  const rest: string[] = []
  for await (const { type } of status) rest.push(type)
  t.is(rest.at(-1), 'closed')
})

for (const [what, options] of [
  ['an address without a port', { nameServers: 'localhost' }],
  ['no name server at all', { nameServers: ' ; ' }],
  ['a broker and name servers', { nameServers: 'a:1', broker: 'a:2' }],
  ['half of the credentials', { auth: { accessKey: 'me', secretKey: '' } }],
  ['a timeout of nothing', { timeoutMs: 0 }],
] as const) {
  test(`${what} is refused at once`, async (t) => {
    await t.throwsAsync(connect(options), { code: 'ARGUMENT_INVALID' })
  })
}

test('requests are signed with the credentials', async (t) => {
  const fake = await startFakeRocketmq(t)
  const auth = { accessKey: 'RocketMQ', secretKey: '12345678' }
  await using mq = await connect({ nameServers: fake.address, auth })
  await mq.send({ topic: 'T', body: 'x' })
  for (const { fields } of fake.requests) {
    t.is(fields.get('AccessKey'), 'RocketMQ')
    t.regex(fields.get('Signature') ?? '', /^[A-Za-z0-9+/]{27}=$/)
  }
})

test('an option that is written wrong is refused and not left out', async (t) => {
  const { mq } = await pair(t)
  const wrong = { nameServer: 'mq.example:9876' } as object
  await t.throwsAsync(connect(wrong), {
    code: 'ARGUMENT_INVALID',
    message:
      /^'nameServer' is no option of connect \(did you mean 'nameServers'\?\); it has nameServers,/,
  })
  const subscription = { group: 'g', topic: 'T', tag: 'a' } as { group: string; topic: string }
  t.throws(() => mq.subscribe(subscription), { code: 'ARGUMENT_INVALID', message: /^'tag' / })
})

const WRONG_CALLS: Readonly<Record<string, (mq: Client) => Promise<unknown>>> = {
  send: (mq) => mq.send({ topic: 'T', body: 'x' }, { timeout: 1 } as object),
  poll: (mq) => mq.poll(G, { wait: 1 } as object),
  pull: (mq) => mq.pull({ topic: 'T', queueId: 0, offset: 0, count: 1 } as PullRequest),
  byKey: (mq) => mq.admin.messages.byKey('T', 'k', { maximum: 1 } as object),
  create: (mq) => mq.admin.topics.create({ name: 'U', queue: 1 } as NewTopic),
  nack: async (mq) => {
    await mq.send({ topic: 'T', body: 'x' })
    const [delivery] = await mq.poll(G, { waitMs: 60_000 })
    await delivery!.nack({ delay: 1 } as object)
  },
}

for (const [name, call] of Object.entries(WRONG_CALLS)) {
  test(`an option of ${name} that is written wrong is refused and not left out`, async (t) => {
    const { mq } = await pair(t)
    const error = await t.throwsAsync(call(mq), { code: 'ARGUMENT_INVALID' })
    t.regex(error!.message, /^'\w+' is no (option|field) of .*; it has /)
  })
}

test('a field of a message that is written wrong is refused with the one that was meant', async (t) => {
  const { fake, mq } = await pair(t)
  const wrong = { topic: 'T', body: 'x', tags: 'paid' } as OutgoingMessage
  const expected = {
    code: 'MESSAGE_INVALID',
    message: /^'tags' is no field of a message \(did you mean 'tag'\?\); it has topic, body,/,
  } as const
  await t.throwsAsync(mq.send(wrong), expected)
  await t.throwsAsync(mq.sendOneWay(wrong), expected)
  await t.throwsAsync(mq.sendBatch([{ topic: 'T', body: 'y' }, wrong]), expected)
  t.deepEqual(fake.bodies('T'), [])
})

test('a message that was received can be sent on as it is', async (t) => {
  const { fake, mq } = await pair(t)
  await mq.send({ topic: 'T', body: 'x' })
  const [delivery] = await mq.poll(G, { waitMs: 60_000 })
  await mq.send(delivery!)
  t.deepEqual(fake.bodies('T'), ['x', 'x'])
})

test('a poll with other options than the first one of its group is refused', async (t) => {
  const { fake, mq } = await pair(t)
  const first = { group: 'g', topic: 'T', from: 'first' } as const
  await mq.poll(first)
  fake.store('T', 0, 'x')
  await t.throwsAsync(mq.poll({ ...first, ordered: true }), { code: 'ARGUMENT_INVALID' })
  t.is((await mq.poll(first, { waitMs: 10_000 })).length, 1)
})

for (const max of [0, -1, 1.5, Number.NaN]) {
  test(`a poll or a pull of ${max} messages is refused`, async (t) => {
    const { mq } = await pair(t)
    const wanted = { group: 'g', topic: 'T' }
    await t.throwsAsync(mq.poll(wanted, { max }), { code: 'ARGUMENT_INVALID' })
    const pull = { topic: 'T', queueId: 0, offset: 0, max }
    await t.throwsAsync(mq.pull(pull), { code: 'ARGUMENT_INVALID' })
  })
}
