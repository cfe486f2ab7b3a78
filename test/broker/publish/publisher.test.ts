import test from 'ava'
import type { EmbeddedBroker } from '../../../src/broker/broker.ts'
import { BrokerError } from '../../../src/errors.ts'
import type { PublishReceipt, PublishResult } from '../../../src/model/message.ts'
import { queueOffset } from '../../../src/model/positions.ts'
import { BROKER_PROPERTIES, PROPERTY } from '../../../src/model/properties.ts'
import { recordsOf, SYS_FLAG } from '../../../src/model/record.ts'
import { PERM_READ, queueOfKey } from '../../../src/model/topic.ts'
import {
  bodiesOf,
  codesOf,
  newMessage,
  pullRequest,
  queueOf,
  startBroker,
  topicOf,
} from '../../support/broker.ts'

const receipt = (result: PublishResult | undefined): PublishReceipt => {
  if (result === undefined || result instanceof BrokerError) throw result
  return result
}

test('one bad message of a batch does not spoil the others', async (t) => {
  const { broker } = await startBroker(t, { bodyBytesMax: 10 })
  await broker.topics.put(topicOf('orders', 2))
  const results = await broker.publish([
    newMessage('orders', { queueId: 0, body: 'good' }),
    newMessage('orders', { queueId: 2 }),
    newMessage('orders', { body: 'more than ten bytes' }),
    newMessage('SCHEDULE_TOPIC_XXXX'),
    newMessage('rmq_sys_TRIVET_FACTS'),
    newMessage('orders', { properties: { big: 'x'.repeat(32_767) } }),
    newMessage('orders', { properties: { [PROPERTY.transactionPrepared]: 'true' } }),
    newMessage('orders', { queueId: 0, body: 'good too' }),
  ])
  t.deepEqual(codesOf(results), [
    null,
    'QUEUE_NOT_FOUND',
    'MESSAGE_TOO_LARGE',
    'PERMISSION_DENIED',
    'PERMISSION_DENIED',
    'MESSAGE_TOO_LARGE',
    // A half message without the group that would be asked about it.
    'MESSAGE_INVALID',
    null,
  ])
  t.deepEqual(bodiesOf(await broker.pull(pullRequest('orders'))), ['good', 'good too'])
})

test('of one batch each message is stored by its own properties, shared with others or not', async (t) => {
  const { broker } = await startBroker(t)
  await broker.topics.put(topicOf('orders', 1))
  const plain = newMessage('orders', { body: 'now' })
  const delayed = newMessage('orders', { body: 'later', properties: { [PROPERTY.delay]: '18' } })
  await broker.publish([plain, plain, delayed, delayed, plain, delayed])
  t.deepEqual(bodiesOf(await broker.pull(pullRequest('orders'))), ['now', 'now', 'now'])
})

test('a message without a queue goes round the queues', async (t) => {
  const { broker } = await startBroker(t)
  await broker.topics.put(topicOf('orders', 3))
  const results = await broker.publish(Array.from({ length: 6 }, () => newMessage('orders')))
  t.deepEqual(
    results.map((result) => receipt(result).queueId),
    [0, 1, 2, 0, 1, 2],
  )
})

test('messages of one ordering key share a queue', async (t) => {
  const { broker } = await startBroker(t)
  await broker.topics.put(topicOf('orders', 8))
  const keys = ['alice', 'bob', 'alice', 'polygenelubricants', 'bob']
  const results = await broker.publish(
    keys.map((orderingKey) => newMessage('orders', { orderingKey })),
  )
  t.deepEqual(
    results.map((result) => receipt(result).queueId),
    keys.map((key) => queueOfKey(key, 8)),
  )
})

test('a message without a unique key gets one, and one with a key keeps it', async (t) => {
  const { broker } = await startBroker(t)
  await broker.publish([
    newMessage('orders', { queueId: 0, tag: 'eu' }),
    newMessage('orders', { queueId: 0 }),
    newMessage('orders', { queueId: 0, properties: { UNIQ_KEY: 'mine' } }),
  ])
  const { records } = await broker.pull(pullRequest('orders'))
  const views = [...recordsOf(records)]
  const keys = views.map((record) => record.property(PROPERTY.uniqueKey))
  t.regex(keys[0] ?? '', /^[0-9A-F]{32}$/)
  t.regex(keys[1] ?? '', /^[0-9A-F]{32}$/)
  t.not(keys[0], keys[1])
  t.is(keys[2], 'mine')
  t.is(views[0]?.property(PROPERTY.tags), 'eu')
})

test('properties whose last separator is missing keep their last value beside the new key', async (t) => {
  const { broker } = await startBroker(t)
  const open = Buffer.from('TAGS\u0001eu\u0002colour\u0001red')
  await broker.publish([{ ...newMessage('orders', { queueId: 0 }), properties: open }])
  const { records } = await broker.pull(pullRequest('orders'))
  const properties = [...recordsOf(records)][0]?.properties()
  t.is(properties?.get('colour'), 'red')
  t.is(properties?.get('UNIQ_KEY')?.length, 32)
})

const propertiesOf = async (broker: EmbeddedBroker): Promise<ReadonlyMap<string, string>[]> => {
  const { records } = await broker.pull(pullRequest('orders'))
  return [...recordsOf(records)].map((record) => record.properties())
}

const NATIVE = { queueId: 0, ownProperties: false } as const

test('every native message says the cluster, the region and that traces are wanted', async (t) => {
  const { broker } = await startBroker(t, { clusterName: 'Harbour' })
  const open = Buffer.from('UNIQ_KEY\u0001mine\u0002colour\u0001red')
  await broker.publish([
    newMessage('orders', { ...NATIVE, properties: { UNIQ_KEY: 'mine' } }),
    { ...newMessage('orders', NATIVE), properties: open },
    newMessage('orders', NATIVE),
  ])
  const all = await propertiesOf(broker)
  for (const properties of all) {
    t.is(properties.get(PROPERTY.cluster), 'Harbour')
    t.is(properties.get(PROPERTY.messageRegion), 'DefaultRegion')
    t.is(properties.get(PROPERTY.traceOn), 'true')
  }
  t.is(all[1]?.get('colour'), 'red')
})

test('a message that is sent on says them once, as this broker does', async (t) => {
  const { broker } = await startBroker(t)
  const received = { CLUSTER: 'Elsewhere', MSG_REGION: 'r', TRACE_ON: 'false', colour: 'red' }
  const sentOn = { ...NATIVE, properties: received }
  await broker.publish([newMessage('orders', sentOn)])
  const { records } = await broker.pull(pullRequest('orders'))
  const [record] = [...recordsOf(records)]
  const text = record!.propertyBytes.toString()
  t.is(text.split('CLUSTER').length, 2)
  t.is(record?.property(PROPERTY.cluster), 'DefaultCluster')
  t.is(record?.property(PROPERTY.traceOn), 'true')
  t.is(record?.property('colour'), 'red')
})

test('properties of 32,700 bytes are taken, with what fits of ours behind them', async (t) => {
  const { broker } = await startBroker(t)
  const sized = (bytes: number): string => 'x'.repeat(bytes - 'big\u0001\u0002'.length)
  const results = await broker.publish(
    [32_600, 32_700, 32_701].map((bytes) =>
      newMessage('orders', { ...NATIVE, properties: { big: sized(bytes) } }),
    ),
  )
  t.deepEqual(codesOf(results), [null, null, 'MESSAGE_TOO_LARGE'])
  const all = await propertiesOf(broker)
  t.deepEqual(
    all.map((properties) => properties.get(PROPERTY.cluster)),
    ['DefaultCluster', undefined],
  )
})

test('a message of another protocol lacks them where native clients can be shown all', async (t) => {
  const { broker } = await startBroker(t)
  const sized = (bytes: number): string => 'x'.repeat(bytes - 'big\u0001\u0002'.length)
  await broker.publish([
    newMessage('orders', { queueId: 0 }),
    newMessage('orders', { queueId: 0, properties: { big: sized(32_700) } }),
    newMessage('orders', { queueId: 0, properties: { TRIVET_TTL_MS: '60000' } }),
  ])
  const { records } = await broker.pull(pullRequest('orders'))
  t.deepEqual(
    [...recordsOf(records)].map(({ sysFlag }) => (sysFlag & SYS_FLAG.ownProperties) !== 0),
    [true, false, false],
  )
  const all = await propertiesOf(broker)
  t.deepEqual(
    all.map((properties) => properties.get(PROPERTY.cluster)),
    [undefined, undefined, 'DefaultCluster'],
  )
})

test('a topic that is not writable takes no message', async (t) => {
  const { broker } = await startBroker(t)
  await broker.topics.put({ ...topicOf('orders', 1), perm: PERM_READ })
  t.deepEqual(codesOf(await broker.publish([newMessage('orders')])), ['PERMISSION_DENIED'])
})

test('a batch larger than one append keeps its order', async (t) => {
  const { broker } = await startBroker(t)
  const bodies = Array.from({ length: 9 }, (_, i) => String(i).repeat(700_000))
  await broker.publish(bodies.map((body) => newMessage('orders', { queueId: 0, body })))
  const pulled = await broker.pull(pullRequest('orders', { maxBytes: 64 * 1024 * 1024 }))
  t.deepEqual(
    bodiesOf(pulled).map((body) => body[0]),
    [...'012345678'],
  )
})

test('the order of calls is the order in the queue, also when the first one creates the topic', async (t) => {
  const { broker } = await startBroker(t)
  const publish = (body: string) => broker.publish([newMessage('orders', { queueId: 0, body })])
  await Promise.all(['a', 'b', 'c', 'd'].map(publish))
  t.deepEqual(bodiesOf(await broker.pull(pullRequest('orders'))), ['a', 'b', 'c', 'd'])
})

test('while the store is read-only each message says so, and consumers go on', async (t) => {
  const { broker, faults } = await startBroker(t)
  await broker.publish([newMessage('orders', { queueId: 0, body: 'before' })])
  faults.isReadOnly = true
  t.deepEqual(codesOf(await broker.publish([newMessage('orders'), newMessage('new')])), [
    'READ_ONLY',
    'READ_ONLY',
  ])
  t.deepEqual(bodiesOf(await broker.pull(pullRequest('orders'))), ['before'])
  faults.isReadOnly = false
  t.deepEqual(codesOf(await broker.publish([newMessage('orders')])), [null])
})

test('what a consumer sends to its retry topic beyond its attempts is a dead letter', async (t) => {
  const { broker } = await startBroker(t)
  await broker.groups.ensure('billing')
  const again = (reconsumeTimes: number, retryTimesMax?: number) =>
    newMessage('%RETRY%billing', {
      queueId: 0,
      body: `${reconsumeTimes}`,
      reconsumeTimes,
      retryTimesMax,
    })
  const results = await broker.publish([again(16), again(17), again(3, 2)])
  t.deepEqual(codesOf(results), [null, null, null])
  t.deepEqual(bodiesOf(await broker.pull(pullRequest('%RETRY%billing'))), ['16'])
  t.deepEqual(bodiesOf(await broker.pull(pullRequest('%DLQ%billing'))), ['17', '3'])
})

test('what an orderly consumer sends to its retry topic is a dead letter at once', async (t) => {
  const { broker, clock } = await startBroker(t)
  await broker.groups.ensure('billing')
  const given = (body: string) =>
    newMessage('%RETRY%billing', { body, reconsumeTimes: 3, retryTimesMax: 3 })
  await broker.topics.ensure('orders')
  await broker.queueLocks.lock('billing', 'client', [queueOf('orders')])
  await broker.publish([given('orderly')])
  clock.advance(60_000)
  await broker.publish([given('concurrent')])
  t.deepEqual(bodiesOf(await broker.pull(pullRequest('%DLQ%billing'))), ['orderly'])
  t.deepEqual(bodiesOf(await broker.pull(pullRequest('%RETRY%billing'))), ['concurrent'])
})

test('the retry topic of a group that does not exist takes nothing', async (t) => {
  const { broker } = await startBroker(t)
  t.deepEqual(codesOf(await broker.publish([newMessage('%RETRY%nobody')])), ['GROUP_NOT_FOUND'])
})

test('bodies and properties belong to the caller again when the call returns', async (t) => {
  const { broker, clock } = await startBroker(t)
  const messages = [
    newMessage('T', { queueId: 0, body: 'now' }),
    newMessage('T', { queueId: 0, body: 'later', properties: { TIMER_DELAY_SEC: '1' } }),
    newMessage('T', { queueId: 0, body: 'x'.repeat(3 * 1024 * 1024) }),
    newMessage('T', { queueId: 0, body: 'last' }),
  ]
  const publishing = broker.publish(messages)
  for (const { body, properties } of messages) {
    body.fill(0)
    properties.fill(0)
  }
  await publishing
  const held = broker.pull(pullRequest('T', { offset: queueOffset(3), waitMs: 60_000 }))
  clock.advance(1000)
  t.deepEqual(bodiesOf(await held), ['later'])
  const rest = bodiesOf(await broker.pull(pullRequest('T', { maxBytes: 1 << 24 })))
  t.deepEqual(
    rest.map((body) => body.slice(0, 4)),
    ['now', 'xxxx', 'last', 'late'],
  )
})

const OURS = { CLUSTER: 'DefaultCluster', MSG_REGION: 'DefaultRegion', TRACE_ON: 'true' }

/** What a sender may not say, and between it what it may. */
const claims = (): Record<string, string> => ({
  colour: 'red',
  ...Object.fromEntries([...BROKER_PROPERTIES].map((name) => [name, `claimed ${name}`])),
  size: 'small',
})

test("properties that only a broker writes are dropped from a sender's message, the others are kept", async (t) => {
  const { broker } = await startBroker(t)
  await broker.publish([
    newMessage('orders', { queueId: 0, properties: claims(), ownProperties: false }),
  ])
  const { records } = await broker.pull(pullRequest('orders'))
  const { UNIQ_KEY, ...kept } = Object.fromEntries([...recordsOf(records)][0]!.properties())
  t.deepEqual(kept, { colour: 'red', size: 'small', ...OURS })
  t.truthy(UNIQ_KEY)
})

test('a copy that a consumer sends to its retry topic says where it comes from, and no more', async (t) => {
  const { broker } = await startBroker(t)
  await broker.groups.ensure('g')
  await broker.publish([
    newMessage('%RETRY%g', {
      queueId: 0,
      properties: claims(),
      ownProperties: false,
    }),
  ])
  const { records } = await broker.pull(pullRequest('%RETRY%g'))
  const { UNIQ_KEY, ...kept } = Object.fromEntries([...recordsOf(records)][0]!.properties())
  t.deepEqual(kept, {
    colour: 'red',
    RETRY_TOPIC: 'claimed RETRY_TOPIC',
    ORIGIN_MESSAGE_ID: 'claimed ORIGIN_MESSAGE_ID',
    size: 'small',
    ...OURS,
  })
})

test('a property text is cleaned whatever its bytes: said twice, unclosed, without a value', async (t) => {
  const { broker } = await startBroker(t)
  const text =
    'MQTT_TOPIC\u0001a\u0002x\u0001\u0001y\u0002MQTT_TOPIC\u0001b\u0002\u0002z\u0002MQTT_TOPIC\u0001c'
  const message = newMessage('orders', { queueId: 0, ownProperties: false })
  const [result] = await broker.publish([{ ...message, properties: Buffer.from(text) }])
  receipt(result)
  const { records } = await broker.pull(pullRequest('orders'))
  t.is([...recordsOf(records)][0]!.property('MQTT_TOPIC'), undefined)
  t.is([...recordsOf(records)][0]!.property('x'), '\u0001y')
})

test('the MQTT name that a native sender gives is believed where it means the very topic', async (t) => {
  const { broker } = await startBroker(t)
  await broker.topics.ensure('orders')
  await broker.topics.ensure('alarms')
  await broker.topics.ensure('MQTT')
  const named = async (topic: string, name: string) => {
    const properties = { MQTT_TOPIC: name, MQTT_QOS: '2', MQTT_RETAIN: '1', MQTT_CLIENT: 'c' }
    const message = newMessage(topic, { queueId: 0, ownProperties: false, properties })
    const { queueOffset } = receipt((await broker.publish([message]))[0])
    const { records } = await broker.pull(pullRequest(topic, { offset: queueOffset }))
    const [record] = [...recordsOf(records)]
    return ['MQTT_TOPIC', 'MQTT_QOS', 'MQTT_CLIENT'].map((one) => record!.property(one))
  }
  const none = [undefined, undefined, undefined]
  t.deepEqual(await named('orders', 'orders/paid/42'), ['orders/paid/42', '2', undefined])
  t.deepEqual(await named('MQTT', 'rooms/7'), ['rooms/7', '2', undefined])
  t.deepEqual(await named('orders', 'alarms/fire'), none)
  t.deepEqual(await named('orders', 'rooms/7'), none)
  t.deepEqual(await named('MQTT', 'alarms/fire'), none)
  for (const name of ['$lmq/a', 'rooms/+', 'rooms/#', 'rooms/\u0000']) {
    t.deepEqual(await named('MQTT', name), none, name)
  }
})

test('what producers send is new to the store, whatever facts go with it', async (t) => {
  const { broker, faults } = await startBroker(t)
  const withFacts: unknown[] = []
  faults.beforeAppend = ({ facts = [], isNew }) => {
    if (facts.length > 0) withFacts.push(isNew)
  }
  await broker.publish([newMessage('made-by-this')])
  const state = Buffer.from('state')
  await broker.publish([newMessage('made-by-this')], [{ id: 'session', state, message: 0 }])
  t.deepEqual(withFacts, [true, true])
})
