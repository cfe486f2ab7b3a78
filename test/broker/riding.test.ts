// State of front-ends that is published together with messages.
import test from 'ava'
import { BrokerError } from '../../src/errors.ts'
import type { PublishReceipt } from '../../src/model/message.ts'
import { checkRecord, RecordView } from '../../src/model/record.ts'
import {
  BROKER,
  bodiesOf,
  codeOf,
  codesOf,
  drain,
  newMessage,
  pullRequest,
  startBroker,
  type TestBroker,
} from '../support/broker.ts'

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
