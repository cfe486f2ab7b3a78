// The unmodified ali-ons 3.12 from npm against our server in a process of its own. No topic is made by hand.
import test from 'ava'
import { type SpawnedServer, spawnServer } from '../../test/support/server.ts'
import { type AliOnsOptions, aliOns } from '../support/ali-ons-client.ts'
import { bodyOf, type ForeignClient, type Got } from '../support/foreign-client.ts'

let server: SpawnedServer
const leftovers: (() => unknown)[] = []
test.before(async () => {
  server = await spawnServer({ teardown: (end: () => unknown) => void leftovers.unshift(end) })
})
test.after.always(async () => {
  await server?.stop()
  for (const end of leftovers) await end()
})

const at = (topic: string): Pick<AliOnsOptions, 'nameServer' | 'topic'> => ({
  nameServer: server.address('nameServer'),
  topic,
})
const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i)
const indexes = (messages: readonly Got[]): number[] =>
  messages.map((message) => Number(message.properties['index'])).sort((a, b) => a - b)

test('a message arrives whole', async (t) => {
  const consumer = aliOns(t, { role: 'consume', ...at('Ons'), group: 'O_whole' })
  await consumer.ready()
  const producer = aliOns(t, { role: 'produce', ...at('Ons'), count: 20, tags: ['TagA', 'TagB'] })
  await producer.ends()
  t.deepEqual(producer.of('failed'), [])
  const got = await consumer.receives(20)
  t.deepEqual(indexes(got), upTo(20))
  const fifth = got.find((message) => message.properties['index'] === '5')!
  t.is(bodyOf(fifth), 'message-5')
  t.is(fifth.tag, 'TagB')
  t.is(fifth.properties['KEYS'], 'key-5')
  t.is(fifth.properties['text'], 'grüße 中文 😀')
  t.deepEqual(
    producer
      .of('sent')
      .map((event) => event['msgId'])
      .sort(),
    got.map((message) => message.msgId).sort(),
  )
})

test('a tag expression selects', async (t) => {
  const consumer = aliOns(t, {
    role: 'consume',
    ...at('OnsTags'),
    group: 'O_tags',
    expression: 'TagA || TagC',
  })
  await consumer.ready()
  const tags = ['TagA', 'TagB', 'TagC']
  const producer = aliOns(t, { role: 'produce', ...at('OnsTags'), count: 30, tags })
  await producer.ends()
  const got = await consumer.receives(20)
  t.deepEqual(
    indexes(got),
    upTo(30).filter((i) => i % 3 !== 1),
  )
})

test('two processes of one group share the queues, and one takes over from the other', async (t) => {
  const group = { role: 'consume', ...at('OnsCluster'), group: 'O_cluster' } as const
  const [one, two] = [aliOns(t, group), aliOns(t, group)]
  await Promise.all([one.ready(), two.ready()])
  const send = async (count: number, body: string): Promise<void> => {
    await aliOns(t, { role: 'produce', ...at('OnsCluster'), count, body }).ends()
  }
  // Until both have queues; what came before is shared in some other way.
  for (let round = 0; one.got.length === 0 || two.got.length === 0; round++) {
    t.true(round < 20, 'the two never shared the queues')
    await send(4, `round${round}`)
    await Promise.race(
      [one, two].map((c) => c.until('a round came', () => came([one, two], `round${round}`) === 4)),
    )
  }
  await send(40, 'shared')
  await Promise.race(
    [one, two].map((c) => c.until('all came', () => came([one, two], 'shared') === 40)),
  )
  t.is(came([one, two], 'shared'), 40)
  t.true(came([one], 'shared') > 0 && came([two], 'shared') > 0)
  await one.stop()
  await send(8, 'alone')
  await two.until('it took over', () => came([two], 'alone') === 8)
  t.is(came([one, two], 'alone'), 8)
})

/** Distinct messages with this body among all that the consumers got. */
const came = (consumers: readonly ForeignClient[], body: string): number =>
  new Set(
    consumers.flatMap((consumer) =>
      consumer.got.map(bodyOf).filter((text) => text.startsWith(`${body}-`)),
    ),
  ).size

test('every broadcasting consumer gets every message', async (t) => {
  const group = {
    role: 'consume',
    ...at('OnsBroadcast'),
    group: 'O_broadcast',
    broadcast: true,
  } as const
  const consumers = [aliOns(t, group), aliOns(t, group)]
  await Promise.all(consumers.map((consumer) => consumer.ready()))
  await aliOns(t, { role: 'produce', ...at('OnsBroadcast'), count: 12 }).ends()
  for (const consumer of consumers) t.deepEqual(indexes(await consumer.receives(12)), upTo(12))
})

test('a failed message comes again after ten seconds, with a count', async (t) => {
  const consumer = aliOns(t, {
    role: 'consume',
    ...at('OnsRetry'),
    group: 'O_retry',
    failures: 1,
  })
  await consumer.ready()
  await aliOns(t, { role: 'produce', ...at('OnsRetry'), count: 3, tags: ['TagA'] }).ends()
  const got = await consumer.receives(6)
  const again = got.filter((message) => message.reconsumeTimes === 1)
  t.deepEqual(indexes(again), upTo(3))
  t.true(again.every((message) => message.delayMs >= 9000))
  t.true(again.every((message) => message.topic === 'OnsRetry'))
})

test('a large body is compressed by the client and arrives as it was', async (t) => {
  const body = 'x'.repeat(50_000)
  await aliOns(t, { role: 'produce', ...at('OnsLarge'), count: 1, body }).ends()
  const consumer = aliOns(t, { role: 'consume', ...at('OnsLarge'), group: 'O_large' })
  const [message] = await consumer.receives(1)
  t.is(bodyOf(message!), `${body}-0`)
})

test('requests are signed, and a wrong secret is refused', async (t) => {
  const secured = await spawnServer(t, {
    config: {
      broker: { autoCreateTopics: true },
      users: { ons: { secretKey: '12345678', publish: ['*'], consume: ['*'], create: ['*'] } },
    },
  })
  const common = { nameServer: secured.address('nameServer'), topic: 'OnsSigned' }
  const keys = { accessKey: 'ons', secretKey: '12345678' }
  const good = aliOns(t, { role: 'produce', ...common, ...keys, count: 2 })
  await good.ends()
  t.is(good.of('sent').length, 2)
  const consumer = aliOns(t, { role: 'consume', ...common, ...keys, group: 'O_signed' })
  t.deepEqual(indexes(await consumer.receives(2)), upTo(2))
  const bad = aliOns(t, { role: 'produce', ...common, ...keys, secretKey: 'wrong-one', count: 1 })
  await bad.ends()
  t.is(bad.of('sent').length, 0)
  t.true(bad.of('failed').length > 0)
})
