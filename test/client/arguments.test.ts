// Whatever an application written in JavaScript passes, it is told by an error of the SDK.
import test from 'ava'
import fc from 'fast-check'
import { BrokerError, type Client, connect } from '../../src/client/index.ts'
import { G, pair } from './pairing.ts'

const RUNS = { numRuns: 40 }

type Call = (mq: Client, junk: never) => unknown

const message = { topic: 'T', body: 'x' }

/** Each with one argument that is anything. */
const CALLS: Readonly<Record<string, Call>> = {
  'send(message)': (mq, junk) => mq.send(junk, { timeoutMs: 100 }),
  'send(options)': (mq, junk) => mq.send(message, junk),
  'sendBatch(messages)': (mq, junk) => mq.sendBatch(junk, { timeoutMs: 100 }),
  'sendBatch([message])': (mq, junk) => mq.sendBatch([junk], { timeoutMs: 100 }),
  'sendOneWay(message)': (mq, junk) => mq.sendOneWay(junk, { timeoutMs: 100 }),
  'recall(handle)': (mq, junk) => mq.recall(junk, { timeoutMs: 100 }),
  'request(message)': (mq, junk) => mq.request(junk, { timeoutMs: 100 }),
  'reply(request)': (mq, junk) => mq.reply(junk, { body: 'x' }, { timeoutMs: 100 }),
  'transaction(message)': (mq, junk) => mq.transaction(junk, () => {}, { timeoutMs: 100 }),
  'transaction(work)': (mq, junk) => mq.transaction(message, junk, { timeoutMs: 100 }),
  'subscribe(options)': (mq, junk) => mq.subscribe(junk),
  'subscribe(topics)': (mq, junk) => mq.subscribe({ group: 'g', topics: junk }),
  'subscribe(tags)': (mq, junk) => mq.subscribe({ ...G, topic: '', tags: junk }),
  'subscribe(from)': (mq, junk) => mq.subscribe({ ...G, topic: '', from: junk }),
  'consume(options)': (mq, junk) => mq.consume(junk, () => {}),
  'consume(handler)': (mq, junk) => mq.consume({ ...G, topic: '' }, junk),
  'poll(options)': (mq, junk) => mq.poll(junk),
  'pop(options)': (mq, junk) => mq.pop(junk),
  'read(options)': (mq, junk) => mq.read(junk),
  'pull(request)': (mq, junk) => mq.pull(junk),
  'queues(topic)': (mq, junk) => mq.queues(junk, { timeoutMs: 100 }),
  'queues(options)': (mq, junk) => mq.queues('U', junk),
  'offsetByTime(at)': (mq, junk) => mq.offsetByTime(junk, { timeoutMs: 100 }),
  'deadLetters.list(group)': (mq, junk) => mq.deadLetters.list(junk).next(),
  'deadLetters.list(query)': (mq, junk) => mq.deadLetters.list('g', junk).next(),
  'deadLetters.replay(message)': (mq, junk) => mq.deadLetters.replay(junk, { timeoutMs: 100 }),
  'admin.topics.create(topic)': (mq, junk) => mq.admin.topics.create(junk, { timeoutMs: 100 }),
  'admin.topics.describe(name)': (mq, junk) => mq.admin.topics.describe(junk, { timeoutMs: 100 }),
  'admin.topics.delete(name)': (mq, junk) => mq.admin.topics.delete(junk, { timeoutMs: 100 }),
  'admin.groups.describe(name)': (mq, junk) => mq.admin.groups.describe(junk, { timeoutMs: 100 }),
  'admin.groups.resetOffsets(reset)': (mq, junk) =>
    mq.admin.groups.resetOffsets(junk, { timeoutMs: 100 }),
  'admin.messages.byId(id)': (mq, junk) => mq.admin.messages.byId(junk, { timeoutMs: 100 }),
  'admin.messages.byKey(key)': (mq, junk) =>
    mq.admin.messages.byKey('T', junk, {}, { timeoutMs: 100 }),
  'admin.topics.list(options)': (mq, junk) => mq.admin.topics.list(junk),
  'admin.messages.trace(id)': (mq, junk) => mq.admin.messages.trace(junk, { timeoutMs: 100 }),
  'admin.brokerState(address)': (mq, junk) => mq.admin.brokerState(junk, { timeoutMs: 100 }),
  // By default it connects, where a name server has the default port of this machine.
  'connect(options)': async (_, junk) => (await connect(junk)).close(),
  'connect(nameServers)': (_, junk) => connect({ nameServers: junk, connectTimeoutMs: -1 }),
}

for (const [name, call] of Object.entries(CALLS)) {
  test(`whatever ${name} is given, what it throws is an error of the SDK`, async (t) => {
    const { mq } = await pair(t, { checkTransaction: () => 'unknown' })
    const thrown = async (junk: unknown): Promise<unknown> => {
      try {
        await call(mq, junk as never)
        return undefined
      } catch (error) {
        return error
      }
    }
    const isOurs = (error: unknown): boolean =>
      error === undefined || (error instanceof BrokerError && error.code !== 'INTERNAL')
    for (const junk of [null, 1, Number.NaN, '', Symbol('s'), () => {}, [], [null], { topic: 1 }]) {
      const error = await thrown(junk)
      t.true(isOurs(error), `${typeof junk}: ${String((error as Error)?.stack)}`)
    }
    await fc.assert(
      fc.asyncProperty(fc.anything({ withNullPrototype: true }), async (junk) =>
        isOurs(await thrown(junk)),
      ),
      RUNS,
    )
  })
}
