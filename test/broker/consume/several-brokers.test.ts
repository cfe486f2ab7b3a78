// Members of both kinds in one group over topics that other brokers have queues of too: natives
// divide the queues of all brokers by the list that one of them tells.
import test from 'ava'
import { nextTurn } from '../../../src/clock.ts'
import type { ClientRegistration, GroupMode } from '../../../src/model/client.ts'
import { EVERY_TAG } from '../../../src/model/tag-filter.ts'
import { bodiesOf, startBroker, type TestBroker, topicOf } from '../../support/broker.ts'
import {
  AVERAGELY,
  client,
  device,
  GROUP,
  Native,
  pass,
  RETRY,
  receive,
  send,
  settle,
  TOPIC,
} from '../../support/native/group-natives.ts'
import type { Teardown } from '../../support/temp-dir.ts'

const QUEUES = 4

/** Four queues here, and as many at the broker with this name. */
async function start(t: Teardown, other: string | undefined): Promise<TestBroker> {
  const started = await startBroker(t)
  await started.broker.topics.put(topicOf(TOPIC, QUEUES))
  const queues = (brokerName: string) => ({ brokerName, readQueues: QUEUES })
  started.broker.directory = async (topic) => {
    if (topic !== TOPIC || other === undefined) return [queues('broker-a')]
    return [queues('broker-a'), queues(other)]
  }
  return started
}

const overMqtt = (clientId: string): ClientRegistration => ({
  ...client(clientId, 'per-message'),
  protocol: 'mqtt',
})

/** What clients of this broker divide of 8 queues by the list of one of the two brokers. */
const part =
  (place: number): typeof AVERAGELY =>
  (queueId, _queues, at, members) =>
    AVERAGELY(place + queueId, 2 * QUEUES, at, members)

test('each broker lists one virtual member of the same name, however many consumers it has', async (t) => {
  const lists: (readonly string[])[] = []
  for (const [other, devices] of [
    ['broker-b', 1],
    ['broker-0', 3],
  ] as const) {
    const started = await start(t, other)
    for (let i = 0; i < devices; i++) await device(started, `device ${i}`)
    await new Native(started, 'a').join()
    lists.push(await started.broker.clients.consumerIds(GROUP))
  }
  t.is(lists[0]!.length, 2)
  t.deepEqual(lists[0], lists[1])
})

for (const [other, place, left] of [
  ['broker-b', 0, [0, 1, 2]],
  ['broker-0', QUEUES, []],
] as const) {
  test(`natives leave what is theirs of all queues, beside ${other}`, async (t) => {
    const started = await start(t, other)
    const natives = ['a', 'b'].map((id) => new Native(started, id, part(place)))
    for (const native of natives) await native.join()
    await device(started)
    await receive(started)
    await settle(started, ...natives)
    await send(started, QUEUES)
    const bodies = bodiesOf(await receive(started)).sort()
    t.deepEqual(
      bodies,
      left.map((queueId) => `${queueId}/0`),
    )
    const got = (await Promise.all(natives.map((native) => native.pull()))).flat()
    t.is(bodies.length + got.length, QUEUES)
  })
}

test('a consumer of this broker alone is refused beside natives, and told of the other broker', async (t) => {
  const started = await start(t, 'broker-b')
  const { clients, groups } = started.broker
  await new Native(started, 'a').join()
  const refused = {
    code: 'SUBSCRIPTION_CONFLICT',
    message: /queues at 'broker-b' too.*trivet gateway/,
  }
  await t.throwsAsync(groups.checkReceiving(GROUP, TOPIC, EVERY_TAG), refused)
  await t.throwsAsync(clients.register(overMqtt('sensor')), refused)
  t.deepEqual(await clients.consumerIds(GROUP), ['a'])
})

test('a native that comes to consumers of this broker alone is refused likewise', async (t) => {
  const started = await start(t, 'broker-b')
  const { clients } = started.broker
  await clients.register(overMqtt('sensor'))
  const native = client('a', 'queue-assigned', [TOPIC, RETRY])
  await t.throwsAsync(clients.register(native), { code: 'SUBSCRIPTION_CONFLICT' })
  t.deepEqual(await clients.consumerIds(GROUP), ['sensor'])
})

test('where no other broker has the topic both kinds share it', async (t) => {
  const started = await start(t, undefined)
  const { clients } = started.broker
  await clients.register(overMqtt('sensor'))
  await new Native(started, 'a').join()
  await pass(started, 1_000)
  t.is((await clients.consumerIds(GROUP)).length, 2)
})

/** A native member, and a name server that answers when it is let. */
async function startAsking(t: Teardown): Promise<TestBroker & { answer(): void }> {
  const started = await startBroker(t)
  await started.broker.topics.put(topicOf(TOPIC, QUEUES))
  await new Native(started, 'a').join()
  let answer!: () => void
  const answered = new Promise<[]>((resolve) => {
    answer = () => resolve([])
  })
  started.broker.directory = () => answered
  return { ...started, answer }
}

test('a client that leaves while a name server is asked is no member afterwards', async (t) => {
  const { broker, answer } = await startAsking(t)
  const sensor = overMqtt('sensor')
  const registered = broker.clients.register(sensor)
  await broker.clients.unregister(sensor.connectionId)
  answer()
  await registered
  t.deepEqual(await broker.clients.consumerIds(GROUP), ['a'])
})

test('a client that leaves one group while a name server is asked stays in the other', async (t) => {
  const { broker, answer } = await startAsking(t)
  const sensor = overMqtt('sensor')
  const another = { ...sensor.consumers[0]!, group: 'another' }
  const registered = broker.clients.register({
    ...sensor,
    consumers: [...sensor.consumers, another],
  })
  await broker.clients.unregister(sensor.connectionId, GROUP)
  answer()
  await registered
  t.deepEqual(await broker.clients.consumerIds(GROUP), ['a'])
  t.deepEqual(await broker.clients.consumerIds('another'), ['sensor'])
})

test('of two registrations of one connection the later one counts', async (t) => {
  const { broker, answer } = await startAsking(t)
  const sensor = overMqtt('sensor')
  const registered = broker.clients.register(sensor)
  const another = { ...sensor.consumers[0]!, group: 'another' }
  await broker.clients.register({ ...sensor, consumers: [another] })
  answer()
  await registered
  t.deepEqual(await broker.clients.consumerIds(GROUP), ['a'])
  t.deepEqual(await broker.clients.consumerIds('another'), ['sensor'])
})

test('the topics of all groups of a client are asked for at one time', async (t) => {
  const { broker } = await startBroker(t)
  const inGroup = (group: string, topic: string, mode: GroupMode) => ({
    ...client(group, mode, [topic]).consumers[0]!,
    group,
  })
  const inBoth = (mode: GroupMode) => ({
    ...client(mode, mode),
    consumers: [inGroup('one', 'orders', mode), inGroup('two', 'bills', mode)],
  })
  await broker.clients.register(inBoth('queue-assigned'))
  const asked: string[] = []
  broker.directory = (topic) => {
    asked.push(topic)
    return new Promise(() => {})
  }
  void broker.clients.register(inBoth('per-message'))
  await nextTurn()
  t.deepEqual(asked, ['orders', 'bills'])
})

test('members that were there before another broker had the topic stay', async (t) => {
  const started = await start(t, undefined)
  const { broker } = started
  const native = new Native(started, 'a')
  const sensor = overMqtt('sensor')
  await broker.clients.register(sensor)
  await native.join()
  const queues = ['broker-a', 'broker-b'].map((brokerName) => ({ brokerName, readQueues: QUEUES }))
  broker.directory = async () => queues
  await pass(started, 12_000)
  // A heartbeat, and a further group of the same client.
  await native.join()
  const another = { ...sensor.consumers[0]!, group: 'another' }
  await broker.clients.register({ ...sensor, consumers: [...sensor.consumers, another] })
  t.deepEqual(await broker.clients.consumerIds('another'), ['sensor'])
  await t.throwsAsync(broker.clients.register(overMqtt('second')), {
    code: 'SUBSCRIPTION_CONFLICT',
  })
})

test('the heartbeat of a member waits for no name server', async (t) => {
  const started = await start(t, undefined)
  const { broker } = started
  await broker.clients.register(overMqtt('sensor'))
  const native = await new Native(started, 'a').join()
  broker.directory = () => new Promise(() => {})
  await pass(started, 12_000)
  await native.join()
  await broker.clients.register(overMqtt('sensor'))
  t.is((await broker.clients.consumerIds(GROUP)).length, 2)
})

test('what members subscribe to otherwise is refused without a name server', async (t) => {
  const { broker } = await startAsking(t)
  const refused = { code: 'SUBSCRIPTION_CONFLICT', message: /do not subscribe to 'bills'/ }
  await t.throwsAsync(broker.groups.checkReceiving(GROUP, 'bills', EVERY_TAG), refused)
})
