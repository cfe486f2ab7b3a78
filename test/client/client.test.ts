import { createServer } from 'node:net'
import test from 'ava'
import { connect } from '../../src/client/index.ts'
import { REQUEST } from '../../src/remoting/codes.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { startFakeRocketmq } from '../support/fake-rocketmq.ts'

/** An address of loopback where nobody listens. */
async function deadAddress(): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  return `127.0.0.1:${typeof address === 'object' ? address?.port : 0}`
}

test('connecting where nobody listens says which address and what to do', async (t) => {
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

test('after close every call is refused, and a second close is the first', async (t) => {
  const fake = await startFakeRocketmq(t)
  const mq = await connect({ nameServers: fake.address })
  const closing = mq.close()
  t.is(mq.close(), closing)
  await closing
  await t.throwsAsync(mq.send({ topic: 'T', body: 'x' }), { code: 'CLOSED' })
  await t.throwsAsync(mq.receive({ group: 'g', topic: 'T' }), { code: 'CLOSED' })
  t.throws(() => mq.subscribe({ group: 'g', topic: 'T' }), { code: 'CLOSED' })
  t.deepEqual(await mq.status().next(), { done: true, value: undefined })
})

test('close does not wait for a broker that is down', async (t) => {
  const fake = await startFakeRocketmq(t)
  const mq = await connect({ nameServers: fake.address })
  await mq.consume({ group: 'g', topic: 'T' }, () => {})
  await fake.stop()
  const began = performance.now()
  await mq.close()
  t.true(performance.now() - began < 1000)
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
