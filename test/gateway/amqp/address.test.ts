import test from 'ava'
import fc from 'fast-check'
import { BrokerError } from '../../../src/errors.ts'
import { bareName, brokerName, parseAddress } from '../../../src/gateway/amqp/address.ts'

const brief = (text: string): Record<string, unknown> => {
  const { filter, ...rest } = parseAddress(text)
  const address = { ...rest, tags: filter?.expression }
  const told = Object.entries(address).filter(([, value]) => value !== undefined && value !== false)
  return Object.fromEntries(told)
}

const cases: [string, Record<string, unknown>][] = [
  ['orders', { topic: 'orders' }],
  ['/topics/orders', { topic: 'orders' }],
  ['/topics/orders/tags/TagA', { topic: 'orders', tag: 'TagA' }],
  ['/topics/orders/tags/TagA/queues/3', { topic: 'orders', tag: 'TagA', queueId: 3 }],
  ['/topics/orders/groups/billing', { topic: 'orders', group: 'billing' }],
  ['/topics/orders/groups/billing/queues/0', { topic: 'orders', group: 'billing', queueId: 0 }],
  ['/topics/orders/broadcast', { topic: 'orders', broadcast: true }],
  ['/groups/billing/dlq', { topic: '%DLQ%billing' }],
  ['/groups/billing/retry', { topic: '%RETRY%billing' }],
  ['orders::billing', { topic: 'orders', group: 'billing' }],
  ['orders/Subscriptions/billing', { topic: 'orders', group: 'billing' }],
  ['orders/ConsumerGroups/billing/Partitions/2', { topic: 'orders', group: 'billing', queueId: 2 }],
  ['queue://orders', { topic: 'orders', routing: 'queue' }],
  ['topic://orders', { topic: 'orders', routing: 'topic' }],
  ['/queues/orders', { topic: 'orders', routing: 'queue' }],
  ['/exchanges/orders/TagA', { topic: 'orders', tag: 'TagA' }],
  ['qit.jms.test', { topic: 'qit%2Ejms%2Etest' }],
  ['/topics/qit.jms/groups/my.group', { topic: 'qit%2Ejms', group: 'my%2Egroup' }],
  ['/topics/a%20b', { topic: 'a%20b' }],
  ['orders?tag=A%7C%7CB', { topic: 'orders', tags: 'A || B' }],
  ['orders?tag=A||B&order=1', { topic: 'orders', tags: 'A || B', ordered: true }],
  ['orders?lock=30', { topic: 'orders', lockMs: 30_000 }],
  ['orders?offset=first', { topic: 'orders', startAt: { kind: 'first' } }],
  ['orders?offset=17', { topic: 'orders', startAt: { kind: 'offset', offset: 17 } }],
  ['com.shop.Order$Line', { topic: 'com%2Eshop%2EOrder%24Line' }],
  ['50%24', { topic: '50%2524' }],
  ['orders?offset=@1700', { topic: 'orders', startAt: { kind: 'time', epochMs: 1700 } }],
]

for (const [text, expected] of cases) {
  test(`${text} is understood`, (t) => {
    t.deepEqual(brief(text), expected)
  })
}

const refused: [string, string][] = [
  ['', 'NAME_INVALID'],
  ['/', 'TOPIC_NOT_FOUND'],
  ['/topics', 'NAME_INVALID'],
  ['/nodes/x', 'TOPIC_NOT_FOUND'],
  ['/topics/x/shelves/3', 'TOPIC_NOT_FOUND'],
  ['/topics/x/queues/-1', 'TOPIC_NOT_FOUND'],
  ['/topics/x/queues/abc', 'TOPIC_NOT_FOUND'],
  ['/topics/%zz', 'NAME_INVALID'],
  ['x?color=red', 'ARGUMENT_INVALID'],
  ['x?offset=yesterday', 'ARGUMENT_INVALID'],
  ['x?offset=99999999999999999', 'ARGUMENT_INVALID'],
  ['x?lock=0', 'ARGUMENT_INVALID'],
  ['t'.repeat(128), 'NAME_INVALID'],
  ['t'.repeat(600), 'NAME_INVALID'],
  ['t::', 'NAME_INVALID'],
  ['$cbs', 'TOPIC_NOT_FOUND'],
  ['$management', 'TOPIC_NOT_FOUND'],
  ['$cbs?offset=first', 'TOPIC_NOT_FOUND'],
  ['queue://$cbs', 'TOPIC_NOT_FOUND'],
  ['topic://$cbs', 'TOPIC_NOT_FOUND'],
  ['$cbs::billing', 'TOPIC_NOT_FOUND'],
  ['/topics/$cbs', 'TOPIC_NOT_FOUND'],
  ['/topics/%24cbs/groups/billing', 'TOPIC_NOT_FOUND'],
  ['/queues/$cbs', 'TOPIC_NOT_FOUND'],
  ['/exchanges/$cbs/key', 'TOPIC_NOT_FOUND'],
  ['orders/$management', 'TOPIC_NOT_FOUND'],
  ['orders/$DeadLetterQueue', 'TOPIC_NOT_FOUND'],
  ['orders/Subscriptions/billing/$DeadLetterQueue', 'TOPIC_NOT_FOUND'],
  ['$cbs/Subscriptions/billing', 'TOPIC_NOT_FOUND'],
]

for (const [text, code] of refused) {
  test(`${JSON.stringify(text.slice(0, 30))} (${text.length} characters) is refused as ${code}`, (t) => {
    const error = t.throws(() => parseAddress(text), { instanceOf: BrokerError })
    t.is(error?.code, code as never)
  })
}

test('an unknown form is answered with the grammar', (t) => {
  t.throws(() => parseAddress('/nodes/x'), { message: /\/topics\/T\/groups\/G/ })
})

test('every name has a topic of its own, and comes back', (t) => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', maxLength: 20 }), (name) => {
      const topic = brokerName(name)
      t.regex(topic, /^[%|a-zA-Z0-9_-]*$/)
      t.is(bareName(topic), name)
    }),
  )
  t.is(brokerName('50%25'), '50%2525')
  t.is(brokerName('50%'), '50%')
})

test('arbitrary addresses are parsed or refused by a BrokerError', (t) => {
  fc.assert(
    fc.property(fc.string({ maxLength: 60 }), fc.string({ maxLength: 60 }), (a, b) => {
      for (const text of [a, `/topics/${a}/${b}`, `x?${a}`]) {
        try {
          parseAddress(text)
        } catch (error) {
          t.true(error instanceof BrokerError)
        }
      }
    }),
  )
  t.pass()
})
