import test from 'ava'
import type { EmbeddedBroker } from '../../../src/broker/broker.ts'
import { DispatchBudget } from '../../../src/broker/publish/dispatch-budget.ts'
import { DELAYED, DueTimer } from '../../../src/broker/publish/due-timer.ts'
import { BrokerError } from '../../../src/errors.ts'
import { silentLogger } from '../../../src/log.ts'
import { NO_HOST } from '../../../src/model/host.ts'
import { decodeRecallHandle, encodeRecallHandle } from '../../../src/model/message-id.ts'
import { SCHEDULE_TOPIC } from '../../../src/model/names.ts'
import { queueOffset } from '../../../src/model/positions.ts'
import { encodeProperties, PROPERTY } from '../../../src/model/properties.ts'
import { RecordView } from '../../../src/model/record.ts'
import { openStoreIn } from '../../../src/store/open.ts'
import {
  bodiesOf,
  codeOf,
  isPending,
  newMessage,
  pullRequest,
  startBroker,
  topicOf,
} from '../../support/broker.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { Random } from '../../support/random.ts'
import { MemoryPlace } from '../../support/simulation/memory-key-value.ts'
import { SimulatedDisk } from '../../support/simulation/simulated-disk.ts'
import { draft } from '../../support/store/store-contents.ts'

const DAY_MS = 86_400_000

async function publish(
  broker: EmbeddedBroker,
  properties: Record<string, string>,
  body = 'later',
): Promise<string | undefined> {
  const [result] = await broker.publish([newMessage('orders', { queueId: 0, body, properties })])
  if (result instanceof BrokerError) throw result
  return result!.recallHandle
}

const held = (broker: EmbeddedBroker) => broker.pull(pullRequest('orders', { waitMs: DAY_MS }))

for (const [what, properties] of [
  ['by a time', { TIMER_DELAY_MS: '5000' }],
  ['by a level', { DELAY: '2' }],
] as const) {
  test(`a message that is delayed ${what} is never delivered once it is taken back`, async (t) => {
    const test = await startBroker(t)
    const { broker, clock } = test
    const handle = await publish(broker, { ...properties, UNIQ_KEY: 'ID1' })
    t.is(await broker.recall('orders', handle!), 'ID1')
    t.is((await broker.status()).pendingDelayed, 0)
    t.is(await broker.recall('orders', handle!), 'ID1', 'it may be repeated')
    const pulling = held(broker)
    clock.advance(6000)
    t.true(await isPending(test, pulling))
  })
}

test('the handle says topic, broker, due time and unique key', async (t) => {
  const { broker, clock } = await startBroker(t)
  const handle = await publish(broker, { TIMER_DELAY_MS: '5000', UNIQ_KEY: 'ID1' })
  const dueMs = clock.now() + 5000
  t.is(handle, Buffer.from(`v1 orders broker-a ${dueMs} ID1`).toString('base64'))
  t.deepEqual(decodeRecallHandle(handle!), {
    ...{ topic: 'orders', brokerName: 'broker-a', dueMs, messageId: 'ID1' },
  })
})

test('an id with spaces is whole in the handle', async (t) => {
  const { broker } = await startBroker(t)
  const handle = await publish(broker, { TIMER_DELAY_MS: '5000', UNIQ_KEY: 'order 7 of 9' })
  t.is(await broker.recall('orders', handle!), 'order 7 of 9')
  t.is((await broker.status()).pendingDelayed, 0)
})

test('a message that is delivered cannot be taken back', async (t) => {
  const { broker, clock } = await startBroker(t)
  const handle = await publish(broker, { TIMER_DELAY_MS: '5000' })
  const pulling = held(broker)
  clock.advance(5000)
  t.deepEqual(bodiesOf(await pulling), ['later'])
  t.is(await codeOf(broker.recall('orders', handle!)), 'MESSAGE_NOT_FOUND')
})

test('all copies of a send that was repeated are taken back, and no other message', async (t) => {
  const { broker, clock } = await startBroker(t)
  const dueMs = clock.now() + 5000
  const properties = { TIMER_DELIVER_MS: `${dueMs}`, UNIQ_KEY: 'ID1' }
  const handle = await publish(broker, properties)
  await publish(broker, properties)
  await publish(broker, { ...properties, UNIQ_KEY: 'ID2' }, 'of another id')
  await publish(broker, { ...properties, TIMER_DELIVER_MS: `${dueMs + 1}` }, 'of another time')
  await broker.publish([newMessage('bills', { queueId: 0, properties })])
  await broker.recall('orders', handle!)
  t.is((await broker.status()).pendingDelayed, 3)
  const pulling = held(broker)
  clock.advance(5000)
  t.deepEqual(bodiesOf(await pulling), ['of another id'])
})

test('a message at once, of a batch together or of a retry topic has no handle', async (t) => {
  const { broker } = await startBroker(t)
  t.is(await publish(broker, {}), undefined)
  t.is(await publish(broker, { TIMER_DELIVER_MS: '1' }), undefined)
  const delayed = newMessage('orders', { properties: { DELAY: '1' } })
  const receipts = await broker.publishTogether([delayed, delayed])
  t.true(receipts.every(({ recallHandle }) => recallHandle === undefined))
  await broker.groups.ensure('G')
  const [retry] = await broker.publish([newMessage('%RETRY%G', { properties: { DELAY: '1' } })])
  t.true(retry !== undefined && !('recallHandle' in retry))
})

test('a recall is refused in words: an unknown topic, what is no handle, another topic or broker', async (t) => {
  const { broker, clock } = await startBroker(t)
  await broker.topics.put(topicOf('orders', 1))
  await broker.topics.put(topicOf('bills', 1))
  const dueMs = clock.now() + 5000
  const given = { topic: 'orders', brokerName: 'broker-a', dueMs, messageId: 'ID1' }
  for (const [topic, handle, code, message] of [
    ['unknown', encodeRecallHandle(given), 'TOPIC_NOT_FOUND', /the topic\[unknown\] not exist/],
    ['orders', '', 'ARGUMENT_INVALID', /recall handle is invalid/],
    ['orders', 'no handle!', 'ARGUMENT_INVALID', /recall handle is invalid/],
    ['orders', Buffer.from('v1 orders').toString('base64'), 'ARGUMENT_INVALID', /is invalid/],
    ['orders', Buffer.from('v2 a b 1 c').toString('base64'), 'ARGUMENT_INVALID', /is invalid/],
    ['bills', encodeRecallHandle(given), 'ARGUMENT_INVALID', /topic not match/],
    [
      'orders',
      encodeRecallHandle({ ...given, brokerName: 'broker-b' }),
      'ARGUMENT_INVALID',
      /broker service not available/,
    ],
    [
      'orders',
      encodeRecallHandle({ ...given, dueMs: 1 }),
      'MESSAGE_NOT_FOUND',
      /timestamp invalid/,
    ],
  ] as const) {
    await t.throwsAsync(broker.recall(topic, handle), { code, message })
  }
  t.is(await broker.recall('orders', encodeRecallHandle(given)), 'ID1', 'nothing waits there')
})

test('where recall is switched off there is no handle, and none is obeyed', async (t) => {
  const { broker } = await startBroker(t, { recall: false })
  t.is(await publish(broker, { DELAY: '1' }), undefined)
  t.is(await codeOf(broker.recall('orders', 'x')), 'PERMISSION_DENIED')
})

test('a recall that was answered holds after a crash, and a handle from before it', async (t) => {
  const { broker, crash } = await startBroker(t)
  const first = await publish(broker, { TIMER_DELAY_MS: '5000' }, 'first')
  const second = await publish(broker, { TIMER_DELAY_MS: '5000' }, 'second')
  await publish(broker, { TIMER_DELAY_MS: '5000' }, 'third')
  await broker.recall('orders', first!)
  const again = await crash()
  t.is((await again.broker.status()).pendingDelayed, 2)
  await again.broker.recall('orders', second!)
  const pulling = held(again.broker)
  again.clock.advance(5000)
  t.deepEqual(bodiesOf(await pulling), ['third'])
})

const TURNS = 24

for (const isFiredFirst of [true, false]) {
  test(`a recall as the time comes (${isFiredFirst ? 'just before' : 'just after'} it) is told what became of the message`, async (t) => {
    const random = new Random(1)
    const clock = new FakeClock()
    const store = await openStoreIn({
      logPath: '/log',
      viewsPath: '/views',
      disk: new SimulatedDisk({ random, inPool: (fn) => void setImmediate(fn) }),
      place: new MemoryPlace({ random }),
      clock,
      log: silentLogger,
      storeHost: NO_HOST,
      closed() {},
      logOptions: { reserveBytes: 0 },
    })
    const timer = new DueTimer(store, clock, silentLogger, new DispatchBudget())
    timer.handle(DELAYED, (record) => ({ message: draft('orders', record.body.toString()) }))
    t.teardown(async () => {
      await timer.close()
      await store.close()
    })
    const outcomes = new Set<string>()
    let delivered = 0
    for (let turns = 0; turns < TURNS; turns++) {
      const properties = encodeProperties([[PROPERTY.uniqueKey, `ID${turns}`]])
      const dueMs = clock.now() + 1000
      await store.append({ messages: [draft('orders', 'm', { dueMs, properties })] })
      timer.arm()
      const [record] = await store.findByKey(SCHEDULE_TOPIC, `ID${turns}`, { max: 1 })
      const { position } = new RecordView(record!)
      const pass = async (): Promise<void> => {
        for (let i = 0; i < turns; i++) await new Promise((resolve) => setImmediate(resolve))
      }
      if (isFiredFirst) {
        clock.advance(1000)
        await pass()
      }
      const withdrawing = timer.withdraw({ dueMs, position })
      if (!isFiredFirst) {
        await pass()
        clock.advance(1000)
      }
      const outcome = await withdrawing
      outcomes.add(outcome)
      if (outcome !== 'withdrawn') delivered++
      while (store.status().pendingDue > 0) await new Promise((resolve) => setImmediate(resolve))
      t.is(store.range('orders', 0).maxOffset, queueOffset(delivered), `${turns} turns, ${outcome}`)
    }
    if (isFiredFirst) t.deepEqual([...outcomes].sort(), ['fired', 'gone', 'withdrawn'])
    else t.deepEqual([...outcomes], ['withdrawn'])
  })
}
