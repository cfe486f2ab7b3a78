// The mapping rules: MQTT topics to topic, tag and key, and shared subscriptions to groups.
import test from 'ava'
import { Addresses, groupOfShare } from '../../../src/gateway/mqtt/address.ts'
import {
  isReservedTopic,
  isTopicName,
  parseFilter,
} from '../../../src/gateway/mqtt/packets/topic-name.ts'
import { checkGroupName } from '../../../src/model/names.ts'
import { startBroker } from '../../support/broker.ts'
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
  t.deepEqual(of('/orders/eu'), ['MQTT', undefined, undefined])
  t.deepEqual(of('devices/7/t'), ['MQTT', undefined, undefined])
  t.deepEqual(of('MQTT/a/b'), ['MQTT', undefined, undefined])
  for (const name of [
    'TBW102/x',
    'SCHEDULE_TOPIC_XXXX/x',
    'rmq_sys_TRIVET_FACTS/x',
    '%RETRY%g/x',
  ]) {
    t.is(of(name)[0], 'MQTT', name)
  }
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
  for (const filter of [...none, '$queue/x', '$from/earliest/x', '$share/g/a#']) {
    t.is(parseFilter(filter), undefined, filter)
  }
})

test('topic names have no wildcards, and some first levels are ours', (t) => {
  for (const name of ['a', '/', ' ', 'a//b', '$other', 'ä']) t.true(isTopicName(name), name)
  for (const name of ['', '+', 'a/#', 'a+b']) t.false(isTopicName(name))
  for (const name of ['$SYS/x', '$share/g/x', '$SYS', '$delayed/1/x']) t.true(isReservedTopic(name))
  for (const name of ['$test/x', '$SYSTEM', 'a/$SYS', 'SYS']) t.false(isReservedTopic(name), name)
})
