// What is done with messages on their way into the store.
import test from 'ava'
import fc from 'fast-check'
import { APPEND_BYTES_TARGET } from '../../../src/broker/options.ts'
import { UniqueIds } from '../../../src/broker/publish/unique-ids.ts'
import { BrokerError } from '../../../src/errors.ts'
import type { PublishReceipt } from '../../../src/model/message.ts'
import { SCAN, scanProperties, WAITING_PROPERTIES } from '../../../src/model/message-scan.ts'
import { OwnProperties } from '../../../src/model/own-properties.ts'
import {
  BROKER_PROPERTIES,
  decodeProperties,
  encodeProperties,
  findProperty,
  hasSeparator,
} from '../../../src/model/properties.ts'
import { checkRecord, RecordView } from '../../../src/model/record.ts'
import {
  BROKER,
  bodiesOf,
  codeOf,
  codesOf,
  drain,
  newMessage,
  pullRequest,
  queueOf,
  startBroker,
  type TestBroker,
  topicOf,
} from '../../support/broker.ts'
import { FakeClock } from '../../support/fake-clock.ts'

// A batch that is stored whole or not at all.

test('of a batch with a refused message none is stored, and the error names it', async (t) => {
  const { broker } = await startBroker(t, { bodyBytesMax: 10 })
  await broker.topics.put(topicOf('orders', 1))
  const error = await t.throwsAsync(
    broker.publishTogether([
      newMessage('orders', { body: 'good' }),
      newMessage('orders', { body: 'more than ten bytes' }),
      newMessage('orders', { body: 'good too' }),
    ]),
    { instanceOf: BrokerError, code: 'MESSAGE_TOO_LARGE' },
  )
  t.regex(
    error.message,
    /nothing of the batch was stored.* message 2 of its 3 .*bodyBytesMax is 10/,
  )
  t.is((await broker.cursors.range(queueOf('orders'))).maxOffset as number, 0)
})

test('a batch larger than several appends usually are is one append', async (t) => {
  const { broker, faults } = await startBroker(t)
  await broker.topics.put(topicOf('orders', 1))
  const before = faults.appends
  const body = 'x'.repeat(APPEND_BYTES_TARGET / 2)
  await broker.publishTogether(new Array(5).fill(newMessage('orders', { body })))
  t.is(faults.appends - before, 1)
})

test('others are served while a large batch is checked', async (t) => {
  const { broker } = await startBroker(t)
  await broker.topics.put(topicOf('orders', 1))
  const batch = broker.publishTogether(new Array(10_000).fill(newMessage('orders')))
  await new Promise((resolve) => setImmediate(resolve))
  const other = broker.publish([newMessage('orders', { body: 'other' })])
  t.is((await batch)[0]!.queueOffset as number, 1)
  await other
  t.deepEqual(bodiesOf(await broker.pull(pullRequest('orders', { maxMessages: 1 }))), ['other'])
})

test('a topic that is deleted while its batch is checked takes nothing of it', async (t) => {
  const { broker } = await startBroker(t)
  await broker.topics.put(topicOf('orders', 1))
  const batch = broker.publishTogether(new Array(10_000).fill(newMessage('orders')))
  const deleted = broker.topics.delete('orders')
  const error = await t.throwsAsync(batch, { instanceOf: BrokerError })
  t.is((error as BrokerError).code, 'TOPIC_NOT_FOUND')
  await deleted
})

test('a batch that the store refuses is refused whole', async (t) => {
  const { broker, faults } = await startBroker(t)
  await broker.publish([newMessage('orders')])
  faults.isReadOnly = true
  await t.throwsAsync(broker.publishTogether([newMessage('orders'), newMessage('orders')]), {
    code: 'READ_ONLY',
  })
})

const SPECIAL: Record<string, number> = {
  UNIQ_KEY: SCAN.uniqueKey,
  DELAY: SCAN.delayed,
  TIMER_DELAY_SEC: SCAN.delayed,
  TIMER_DELAY_MS: SCAN.delayed,
  TIMER_DELIVER_MS: SCAN.delayed,
  __STARTDELIVERTIME: SCAN.delayed,
  TRAN_MSG: SCAN.prepared,
  PGROUP: SCAN.group,
  CHECK_IMMUNITY_TIME_IN_SECONDS: SCAN.immunity,
  __transactionId__: SCAN.waiting,
  TRANSACTION_CHECK_TIMES: SCAN.waiting,
  ...Object.fromEntries(
    [...BROKER_PROPERTIES].map((name) => [
      name,
      WAITING_PROPERTIES.has(name) ? SCAN.brokers | SCAN.waiting : SCAN.brokers,
    ]),
  ),
}

const name = fc.oneof(
  fc.constantFrom(...Object.keys(SPECIAL)),
  fc.constantFrom('TAGS', 'KEYS', 'DELAY_', 'DELA', 'UNIQ_KE', 'XDELAY', '__', 'T', 'TIMER_'),
  fc.string({ minLength: 1, maxLength: 12 }).filter((text) => !hasSeparator(text)),
)
const value = fc.string({ minLength: 1, maxLength: 20 }).filter((text) => !hasSeparator(text))

test('the scan finds exactly the properties that a full decoding finds', (t) => {
  fc.assert(
    fc.property(fc.array(fc.tuple(name, value), { maxLength: 8 }), (entries) => {
      const bytes = encodeProperties(entries)
      let expected = 0
      for (const key of decodeProperties(bytes).keys()) {
        if (Object.hasOwn(SPECIAL, key)) expected |= SPECIAL[key]!
      }
      t.is(scanProperties(bytes), expected)
    }),
    { numRuns: 1000 },
  )
})

test('the scan of properties ends on any bytes', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
      t.true(scanProperties(bytes) >= 0)
    }),
  )
})

test('a last property without a separator is noticed', (t) => {
  t.is(scanProperties(Buffer.from('a\u0001b')), SCAN.unclosed)
  t.is(scanProperties(Buffer.from('DELAY\u00011')), SCAN.unclosed | SCAN.delayed)
  t.is(scanProperties(Buffer.from('a\u0001b\u0002')), 0)
  t.is(scanProperties(Buffer.alloc(0)), 0)
})

const own = new OwnProperties('Harbour')

const read = (properties: Buffer): object =>
  Object.fromEntries(decodeProperties(Buffer.concat([properties, own.behind(properties, 32_767)!])))

test('own properties stand behind properties that are closed, that are open, and that are none', (t) => {
  const ours = { CLUSTER: 'Harbour', MSG_REGION: 'DefaultRegion', TRACE_ON: 'true' }
  const closed = encodeProperties([['TAGS', 'eu']])
  t.deepEqual(read(closed), { TAGS: 'eu', ...ours })
  t.deepEqual(read(closed.subarray(0, -1)), { TAGS: 'eu', ...ours })
  t.deepEqual(read(Buffer.alloc(0)), ours)
})

test('own properties are left out where they do not fit', (t) => {
  const { length } = own.behind(Buffer.alloc(0), 1000)!
  t.is(own.behind(Buffer.alloc(0), length - 1), undefined)
  t.truthy(own.behind(Buffer.alloc(0), length))
})

const host = { ip: 0x0a000001, port: 10_911 }
const idOf = (ids: UniqueIds): string =>
  findProperty(ids.append(Buffer.alloc(0), false), 'UNIQ_KEY') ?? ''

test('an id names the host and tells the time as RocketMQ reads it', (t) => {
  const clock = new FakeClock(new Date(2026, 4, 10, 3, 4, 5, 6).getTime())
  const ids = new UniqueIds(clock, host)
  ids.startBatch()
  const id = idOf(ids)
  t.regex(id, /^0A000001[0-9A-F]{24}$/)
  const sinceMonth = clock.now() - new Date(2026, 4, 1).getTime()
  t.is(Number.parseInt(id.slice(20, 28), 16), sinceMonth)
})

test('ids stay unique when the count comes round, the clock stands still or goes back', (t) => {
  const clock = new FakeClock()
  const ids = new UniqueIds(clock, host)
  const seen = new Set<string>()
  for (let batch = 0; batch < 40; batch++) {
    ids.startBatch()
    for (let i = 0; i < 5000; i++) seen.add(idOf(ids))
    if (batch % 10 === 9) clock.jump(-3_600_000)
  }
  t.is(seen.size, 200_000)
})

test('after the clock was ahead for a moment ids tell the time again', (t) => {
  const clock = new FakeClock(new Date(2026, 4, 10).getTime())
  const ids = new UniqueIds(clock, host)
  clock.jump(40 * 86_400_000)
  ids.startBatch()
  const ahead = idOf(ids)
  clock.jump(-40 * 86_400_000)
  ids.startBatch()
  const id = idOf(ids)
  const sinceMonth = clock.now() - new Date(2026, 4, 1).getTime()
  t.is(Number.parseInt(id.slice(20, 28), 16), sinceMonth)
  t.not(id.slice(12, 20), ahead.slice(12, 20))
})

test('the time of an id starts over with the month', (t) => {
  const clock = new FakeClock(new Date(2026, 0, 31, 23, 59, 59, 999).getTime())
  const ids = new UniqueIds(clock, host)
  ids.startBatch()
  idOf(ids)
  clock.advance(11)
  ids.startBatch()
  t.is(Number.parseInt(idOf(ids).slice(20, 28), 16), 10)
})

test('two processes on one host never share an id', (t) => {
  const clock = new FakeClock()
  const [a, b] = [new UniqueIds(clock, host), new UniqueIds(clock, host)]
  a.startBatch()
  b.startBatch()
  t.not(idOf(a), idOf(b))
})

// State of front-ends that is published together with messages.

const KEPT = 'state'
const bytes = (text: string): Buffer => Buffer.from(text)

async function load({ broker }: TestBroker, id: string): Promise<string | undefined> {
  return (await broker.states.load(id))?.value.toString()
}

const receiptOf = (results: readonly unknown[], index = 0): PublishReceipt => {
  const result = results[index]
  if (result instanceof BrokerError) throw result
  return result as PublishReceipt
}

test('a message that is state is its record as the log has it', async (t) => {
  const first = await startBroker(t)
  const { broker } = first
  const changes = [{ id: KEPT, state: 'message', message: 1 }] as const
  const results = await broker.publish(
    [newMessage('orders', { body: 'a' }), newMessage('orders', { body: 'b' })],
    changes,
  )
  for (const at of [first, await first.crash()]) {
    const state = (await at.broker.states.load(KEPT))?.value
    t.is(state && checkRecord(state, 0, state.length, true), state?.length)
    t.is(state && new RecordView(state).body.toString(), 'b')
    t.deepEqual(state, await at.broker.lookup.byPosition(BROKER, receiptOf(results, 1).position))
  }
})

test('each append of a large batch has the state of its own messages, and that of them all', async (t) => {
  const test = await startBroker(t)
  const body = 'x'.repeat(1.5 * 1024 * 1024)
  const messages = [1, 2, 3, 4, 5].map(() => newMessage('orders', { body, queueId: 0 }))
  const appends: string[][] = []
  test.faults.beforeAppend = ({ messages: taken, facts = [] }) => {
    appends.push([`${taken.length} messages`, ...facts.map(({ key }) => key)])
  }
  await test.broker.topics.ensure('orders')
  appends.length = 0
  const own = messages.map((_, message) => ({ id: `own ${message}`, state: null, message }))
  await test.broker.publish(messages, [{ id: 'all', state: bytes('1') }, ...own])
  t.deepEqual(appends, [
    ['2 messages', 'all', 'own 0', 'own 1'],
    ['2 messages', 'all', 'own 2', 'own 3'],
    ['1 messages', 'all', 'own 4'],
  ])
})

test('state of all messages is written by itself when every message is refused', async (t) => {
  const first = await startBroker(t, { autoCreateTopics: false })
  const results = await first.broker.publish(
    [newMessage('missing')],
    [
      { id: 'all', state: bytes('new') },
      { id: 'own', state: bytes('new'), message: 0 },
    ],
  )
  t.deepEqual(codesOf(results), ['TOPIC_NOT_FOUND'])
  const after = await first.crash()
  t.is(await load(after, 'all'), 'new')
  t.is(await load(after, 'own'), undefined)
})

test('state of all messages is readable at once, that of one message with it', async (t) => {
  const test = await startBroker(t)
  await test.broker.states.save('own', bytes('old'))
  const published = test.broker.publish(
    [newMessage('orders')],
    [
      { id: 'all', state: bytes('new') },
      { id: 'own', state: bytes('new'), message: 0 },
    ],
  )
  t.is(await load(test, 'all'), 'new')
  t.is(await load(test, 'own'), 'old')
  await published
  t.is(await load(test, 'own'), 'new')
})

test('what the log refuses: state of all messages is written when it takes it, that of one is not', async (t) => {
  const first = await startBroker(t)
  await first.broker.states.save('own', bytes('old'))
  first.faults.isReadOnly = true
  const results = await first.broker.publish(
    [newMessage('orders')],
    [
      { id: 'all', state: bytes('new') },
      { id: 'own', state: bytes('new'), message: 0 },
    ],
  )
  t.deepEqual(codesOf(results), ['READ_ONLY'])
  t.is(await load(first, 'all'), 'new')
  t.is(await load(first, 'own'), 'old')
  first.faults.isReadOnly = false
  first.clock.advance(1000)
  await drain(first)
  const after = await first.crash()
  t.is(await load(after, 'all'), 'new')
  t.is(await load(after, 'own'), 'old')
  t.deepEqual(bodiesOf(await after.broker.pull(pullRequest('orders'))), [])
})

test('a lazy save before does not get into the log behind the state of a message', async (t) => {
  const first = await startBroker(t)
  await first.broker.states.saveSoon(KEPT, bytes('lazy'))
  const published = first.broker.publish(
    [newMessage('orders')],
    [{ id: KEPT, state: bytes('new'), message: 0 }],
  )
  first.clock.advance(1000)
  await published
  await drain(first)
  t.is(await load(await first.crash(), KEPT), 'new')
})

test('a lazy save is not lost to a message that is refused', async (t) => {
  const first = await startBroker(t)
  await first.broker.states.saveSoon(KEPT, bytes('lazy'))
  first.faults.isReadOnly = true
  await first.broker.publish([newMessage('orders')], [{ id: KEPT, state: null, message: 0 }])
  t.is(await load(first, KEPT), 'lazy')
  first.faults.isReadOnly = false
  first.clock.advance(1000)
  await drain(first)
  t.is(await load(await first.crash(), KEPT), 'lazy')
})

test('changes alone are written, and refused aloud', async (t) => {
  const first = await startBroker(t)
  await first.broker.publish([], [{ id: KEPT, state: bytes('1') }])
  t.is(await load(await first.crash(), KEPT), '1')
  first.faults.isReadOnly = true
  t.is(await codeOf(first.broker.publish([], [{ id: KEPT, state: null }])), 'READ_ONLY')
})

test('what was saved lazily is readable while the state of a message is on its way', async (t) => {
  const test = await startBroker(t)
  await test.broker.states.save(KEPT, bytes('old'))
  await test.broker.states.saveSoon(KEPT, bytes('lazy'))
  const change = { id: KEPT, state: bytes('new'), message: 0 }
  const published = test.broker.publish([newMessage('orders')], [change])
  t.is(await load(test, KEPT), 'lazy')
  await published
  t.is(await load(test, KEPT), 'new')
})
