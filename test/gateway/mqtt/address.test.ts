// The mapping rules: MQTT topics to topic, tag and key, and shared subscriptions to groups.
import test from 'ava'
import { Addresses, groupOfShare } from '../../../src/gateway/mqtt/address.ts'
import { OutgoingMessage } from '../../../src/gateway/mqtt/outgoing/outgoing-message.ts'
import {
  isReservedTopic,
  isTopicName,
  parseFilter,
} from '../../../src/gateway/mqtt/packets/topic-name.ts'
import { checkGroupName } from '../../../src/model/names.ts'
import { encodeProperties } from '../../../src/model/properties.ts'
import { recordBytes, writeRecord } from '../../../src/model/record.ts'
import { startBroker } from '../../support/broker.ts'
import { textOf } from '../../support/sources/sources.ts'
import { eventually } from '../../support/waiting.ts'

test('a topic belongs to the RocketMQ topic of its first level, else to MQTT', async (t) => {
  const { broker } = await startBroker(t)
  await broker.topics.ensure('orders')
  const addresses = new Addresses(broker)
  await addresses.open()
  const of = (name: string) => {
    const { topic, tag, key } = addresses.route(name)
    return [topic, tag, key]
  }
  t.deepEqual(of('orders'), ['orders', undefined, undefined])
  t.deepEqual(of('orders/eu'), ['orders', 'eu', undefined])
  t.deepEqual(of('orders/eu/42'), ['orders', 'eu', '42'])
  t.deepEqual(of('orders/eu/42/more'), ['orders', 'eu', '42'])
  t.deepEqual(of('orders//42'), ['orders', undefined, '42'])
  t.deepEqual(of('orders/'), ['orders', undefined, undefined])
  t.deepEqual(of('/orders/eu'), ['MQTT', '%', undefined])
  t.deepEqual(of('devices/7/t'), ['MQTT', 'devices', undefined])
  t.deepEqual(of('MQTT/a/b'), ['MQTT', 'MQTT', undefined])
  t.deepEqual(of('a||b é*/c'), ['MQTT', 'a%7C%7Cb%20%C3%A9%2A', undefined])
  const long = 'x'.repeat(65)
  t.deepEqual(of(`${long}/c`)[1]?.slice(0, 65), `${'x'.repeat(64)}%`)
  t.not(of(`${long}/c`)[1], of(`${long}y/c`)[1])
  for (const name of [
    'TBW102/x',
    'TRIVET_STATE/x',
    'SCHEDULE_TOPIC_XXXX/x',
    'rmq_sys_TRIVET_FACTS/x',
    '%RETRY%g/x',
  ]) {
    t.is(of(name)[0], 'MQTT', name)
  }
  addresses.close()
})

test('topics that come with groups are no reason to look through all topics again', async (t) => {
  const { broker } = await startBroker(t)
  const addresses = new Addresses(broker)
  await addresses.open()
  const before = addresses.generation
  await broker.groups.ensure('billing')
  t.is(addresses.generation, before)
  await broker.topics.ensure('orders')
  await eventually(async () => (addresses.generation > before ? true : undefined))
  t.is(addresses.generation, before + 1)
  addresses.close()
})

test('a topic that is created later takes its messages from then on', async (t) => {
  const { broker } = await startBroker(t)
  const addresses = new Addresses(broker)
  await addresses.open()
  t.is(addresses.route('late/x').topic, 'MQTT')
  const before = addresses.generation
  await broker.topics.ensure('late')
  await eventually(async () => (addresses.generation > before ? true : undefined))
  t.is(addresses.route('late/x').topic, 'late')
  await broker.topics.delete('late')
  await eventually(async () => (addresses.route('late/x').topic === 'MQTT' ? true : undefined))
  addresses.close()
  t.pass()
})

test('a shared filter on a topic, with a tag or without, is a native group; any other is not', async (t) => {
  const { broker } = await startBroker(t)
  await broker.topics.ensure('orders')
  const addresses = new Addresses(broker)
  await addresses.open()
  const of = (filter: string) => {
    const native = addresses.nativeShare(filter)
    return native && [native.topic, native.filter.expression]
  }
  t.deepEqual(of('orders/#'), ['orders', '*'])
  t.deepEqual(of('orders/eu'), ['orders', 'eu'])
  t.deepEqual(of('orders/eu/#'), ['orders', 'eu'])
  for (const filter of [
    'orders',
    'orders/+',
    'orders/+/42',
    'orders/eu/42',
    'other/#',
    '#',
    '+/eu',
    'orders//#',
    'orders/*',
    'orders/*/#',
    'orders/a||b',
    'orders/ eu ',
  ]) {
    t.is(of(filter), undefined, filter)
  }
  addresses.close()
})

test('any share name is a legal group name, and different ones stay different', (t) => {
  const shares = ['billing', 'a b', 'a%20b', 'ä', 'x.y', '🌡', 'a|b']
  const groups = shares.map(groupOfShare)
  for (const group of groups) t.notThrows(() => checkGroupName(group), group)
  t.is(new Set(groups).size, shares.length)
  t.is(groups[0], 'billing')
  t.is(groups[1], 'a%20b')
  t.is(groups[2], 'a%2520b')
})

test('filters are taken apart as the standard says', (t) => {
  t.deepEqual(parseFilter('a/+/#'), { filter: 'a/+/#', share: undefined })
  t.deepEqual(parseFilter('$share/g/a/#'), { filter: 'a/#', share: 'g' })
  t.deepEqual(parseFilter('$share/g//x'), { filter: '/x', share: 'g' })
  t.deepEqual(parseFilter('$SYS/x'), { filter: '$SYS/x', share: undefined })
  t.deepEqual(parseFilter('$other/x'), { filter: '$other/x', share: undefined })
  const none = [
    '',
    'a#',
    '#/a',
    'a/b+',
    '$share',
    '$share/',
    '$share/g',
    '$share/g/',
    '$share//x',
    '$share/+/x',
  ]
  const reserved = [
    '$queue/x',
    '$from/earliest/x',
    '$lmq/a',
    '$share/g/$lmq/a',
    '$share/g/$trivet/#',
  ]
  for (const filter of [...none, ...reserved, '$share/g/a#']) {
    t.is(parseFilter(filter), undefined, filter)
  }
})

test('topic names have no wildcards, and some first levels are ours', (t) => {
  for (const name of ['a', '/', ' ', 'a//b', '$other', 'ä']) t.true(isTopicName(name), name)
  for (const name of ['', '+', 'a/#', 'a+b']) t.false(isTopicName(name))
  for (const name of ['$SYS/x', '$share/g/x', '$SYS', '$delayed/1/x']) t.true(isReservedTopic(name))
  for (const name of ['$test/x', '$SYSTEM', 'a/$SYS', 'SYS']) t.false(isReservedTopic(name), name)
})

// The examples of docs/concepts/mqtt.md, run: a table of the page that is wrong fails here.

/** Rows of the table with this first line, cells without their code marks. */
function table(header: string): string[][] {
  const lines = textOf('docs/concepts/mqtt.md').split('\n')
  const at = lines.indexOf(header)
  if (at === -1) throw new Error(`the page has no table '${header}'`)
  const rows: string[][] = []
  for (const line of lines.slice(at + 2)) {
    if (!line.startsWith('|')) break
    rows.push(
      line
        .slice(1, -1)
        .split('|')
        .map((cell) => cell.trim().replaceAll('`', '')),
    )
  }
  return rows
}

test('MQTT topics map to topic, tag and key as the page shows', async (t) => {
  const { broker } = await startBroker(t)
  await broker.topics.ensure('orders')
  const addresses = new Addresses(broker)
  await addresses.open()
  const rows = table('| MQTT topic | RocketMQ topic | tag | key |')
  t.true(rows.length >= 7)
  for (const [name, topic, tag, key] of rows) {
    const route = addresses.route(name!)
    t.deepEqual([route.topic, route.tag ?? '', route.key ?? ''], [topic!, tag!, key!], name)
  }
  addresses.close()
})

test('native messages get the MQTT topics that the page shows', (t) => {
  const rows = table('| RocketMQ topic | tag | MQTT topic |')
  t.true(rows.length >= 3)
  for (const [topic, tag, name] of rows) {
    const draft = {
      ...{ topic: topic!, queueId: 0, flag: 0, sysFlag: 0, bornTimestamp: 1, preparedPosition: 0 },
      ...{ bornHost: { ip: 0, port: 0 }, reconsumeTimes: 0, body: Buffer.from('x') },
      properties: encodeProperties(tag === '' ? [] : [['TAGS', tag!]]),
    }
    const record = Buffer.alloc(recordBytes(draft))
    const place = { queueOffset: 0, position: 0, storeTimestamp: 1, storeHost: { ip: 0, port: 0 } }
    writeRecord(record, 0, draft, place)
    t.is(new OutgoingMessage(record, 0, 'broker-a').topicName, name!)
  }
})

test('shared subscriptions read what the page shows', async (t) => {
  const { broker } = await startBroker(t)
  await broker.topics.ensure('orders')
  const addresses = new Addresses(broker)
  await addresses.open()
  const rows = table('| subscribe to | reads | as group | with tag |')
  t.true(rows.length >= 5)
  for (const [text, reads, group, tag] of rows) {
    const { filter, share } = parseFilter(text!)!
    const native = addresses.nativeShare(filter)
    const seen = native === undefined ? `filter ${filter}` : `topic ${native.topic}`
    const tags = native?.filter.tags === undefined ? 'all' : native.filter.expression
    t.deepEqual([seen, groupOfShare(share!), tags], [reads!, group!, tag!], text)
  }
  t.is(groupOfShare('a b'), 'a%20b')
  addresses.close()
})
