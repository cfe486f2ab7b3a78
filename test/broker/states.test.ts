import test from 'ava'
import { NO_STATE, type State } from '../../src/model/state.ts'
import { codeOf, drain, newMessage, startBroker, stateIds } from '../support/broker.ts'
import { endSlicesAtOnce } from '../support/turns.ts'

const text = (state: State | undefined) => state?.value.toString()

test('a saved state survives a crash', async (t) => {
  const first = await startBroker(t)
  await first.broker.states.save('mqtt/c1', Buffer.from('one'))
  const { broker } = await first.crash()
  t.is(text(await broker.states.load('mqtt/c1')), 'one')
})

test('a lazy save is readable at once and durable within a second', async (t) => {
  const first = await startBroker(t)
  const { states } = first.broker
  await states.saveSoon('mqtt/c1', Buffer.from('one'))
  await states.saveSoon('mqtt/c1', Buffer.from('two'))
  t.is(text(await states.load('mqtt/c1')), 'two')
  first.clock.advance(1000)
  await drain(first)
  t.is(text(await states.load('mqtt/c1')), 'two')
  const { broker } = await first.crash()
  t.is(text(await broker.states.load('mqtt/c1')), 'two')
})

test('the latest save wins, lazy or not', async (t) => {
  const first = await startBroker(t)
  const { states } = first.broker
  await states.saveSoon('c', Buffer.from('1'))
  await states.save('c', Buffer.from('2'))
  first.clock.advance(1000)
  await drain(first)
  t.is(text(await states.load('c')), '2')
  const eager = states.save('c', Buffer.from('3'))
  await states.saveSoon('c', Buffer.from('4'))
  t.is(text(await states.load('c')), '4')
  await eager
  t.is(text(await states.load('c')), '4')
  const { broker } = await first.reopen()
  t.is(text(await broker.states.load('c')), '4')
})

test('a deleted state stays deleted', async (t) => {
  const first = await startBroker(t)
  const { states } = first.broker
  await states.save('c', Buffer.from('1'))
  await states.saveSoon('c', Buffer.from('2'))
  await states.delete('c')
  t.is(await states.load('c'), undefined)
  first.clock.advance(1000)
  await drain(first)
  t.is(await states.load('c'), undefined)
  const { broker } = await first.reopen()
  t.is(await broker.states.load('c'), undefined)
})

test('states are listed by the start of their id, saved or not yet', async (t) => {
  const { broker } = await startBroker(t)
  await broker.states.save('mqtt/b', Buffer.from('1'))
  await broker.states.saveSoon('mqtt/a', Buffer.from('1'))
  await broker.states.save('other/c', Buffer.from('1'))
  await broker.states.saveSoon('mqtt/gone', Buffer.from('1'))
  await broker.states.delete('mqtt/gone')
  t.deepEqual(await stateIds(broker, 'mqtt/'), ['mqtt/a', 'mqtt/b'])
})

test('the state is copied, and it and its id have limits', async (t) => {
  const { broker } = await startBroker(t)
  const state = Buffer.from('mine')
  await broker.states.saveSoon('c', state)
  state.fill(0)
  t.is(text(await broker.states.load('c')), 'mine')
  t.is(await codeOf(broker.states.save('', state)), 'ARGUMENT_INVALID')
  t.is(await codeOf(broker.states.save('c', Buffer.alloc(33 * 1024 * 1024))), 'ARGUMENT_INVALID')
})

test('a save that fails is not forgotten for an earlier one that succeeds after it', async (t) => {
  const first = await startBroker(t)
  const { states } = first.broker
  await states.saveSoon('c', Buffer.from('1'))
  first.clock.advance(1000)
  await states.saveSoon('c', Buffer.from('2'))
  first.faults.isReadOnly = true
  first.clock.advance(1000)
  first.faults.isReadOnly = false
  await drain(first)
  t.is(text(await states.load('c')), '2')
  first.clock.advance(1000)
  await drain(first)
  const { broker } = await first.crash()
  t.is(text(await broker.states.load('c')), '2')
})

test('what a refused save left readable gets into the log once it can', async (t) => {
  const first = await startBroker(t)
  const { states } = first.broker
  await states.save('c', Buffer.from('1'))
  first.faults.isReadOnly = true
  t.is(await codeOf(states.save('c', Buffer.from('2'))), 'READ_ONLY')
  t.is(text(await states.load('c')), '2')
  first.faults.isReadOnly = false
  first.clock.advance(1000)
  await drain(first)
  const { broker } = await first.crash()
  t.is(text(await broker.states.load('c')), '2')
})

test('others have their turn while states are listed', async (t) => {
  const { broker, clock } = await startBroker(t)
  for (const id of ['a', 'b', 'c']) await broker.states.save(id, Buffer.from('1'))
  const turns = endSlicesAtOnce(t, clock)
  t.is((await stateIds(broker, '')).length, 3)
  t.is(turns().size, 4)
})

test('a change that expects another version changes nothing', async (t) => {
  const { broker } = await startBroker(t)
  const { states } = broker
  const first = await states.save('c', Buffer.from('1'), { expected: NO_STATE })
  t.is(await codeOf(states.save('c', Buffer.from('x'), { expected: NO_STATE })), 'STATE_CONFLICT')
  const second = await states.save('c', Buffer.from('2'), { expected: first })
  t.is(await codeOf(states.delete('c', { expected: first })), 'STATE_CONFLICT')
  const change = { id: 'c', state: null, expected: first }
  t.is(await codeOf(broker.publish([newMessage('T')], [change])), 'STATE_CONFLICT')
  t.is(await broker.topics.get('T'), undefined)
  t.deepEqual(await states.load('c'), { value: Buffer.from('2'), version: second })
  await states.delete('c', { expected: second })
  t.is(await codeOf(states.save('c', Buffer.from('x'), { expected: second })), 'STATE_CONFLICT')
})

test('of two changes that expect one version one holds, also while one is on its way', async (t) => {
  const { broker } = await startBroker(t)
  await broker.states.save('c', Buffer.from('1'))
  const { version: expected } = (await broker.states.load('c'))!
  const change = { id: 'c', state: Buffer.from('2'), message: 0, expected }
  const published = broker.publish([newMessage('T')], [change])
  t.is(await codeOf(broker.states.save('c', Buffer.from('3'), { expected })), 'STATE_CONFLICT')
  await published
  t.is(await codeOf(broker.states.save('c', Buffer.from('3'), { expected })), 'STATE_CONFLICT')
  t.is(text(await broker.states.load('c')), '2')
})

test('versions only grow, and those that a start finds may be expected', async (t) => {
  const first = await startBroker(t)
  const before = await first.broker.states.save('c', Buffer.from('1'))
  await first.broker.states.saveSoon('c', Buffer.from('2'))
  t.true((await first.broker.states.load('c'))!.version > before)
  const { broker } = await first.reopen()
  const { version: expected } = (await broker.states.load('c'))!
  t.true((await broker.states.save('c', Buffer.from('3'), { expected })) > expected)
})

test('watchers are told of every change of their ids, the newest version last', async (t) => {
  const { broker } = await startBroker(t)
  const { states } = broker
  const news: string[] = []
  const watch = states.watch('a/', ({ id, value, version }) => {
    news.push(`${id} ${value?.toString() ?? 'deleted'}`)
    t.true(version > (versions.get(id) ?? 0))
    versions.set(id, version)
  })
  const versions = new Map<string, number>()
  await states.save('a/1', Buffer.from('saved'))
  await states.save('b/1', Buffer.from('not watched'))
  await states.saveSoon('a/2', Buffer.from('soon'))
  await states.delete('a/1')
  const message = { id: 'a/3', state: Buffer.from('with a message'), message: 0 }
  await broker.publish([newMessage('T')], [{ id: 'a/4', state: Buffer.from('all') }, message])
  t.deepEqual(news.sort(), [
    'a/1 deleted',
    'a/1 saved',
    'a/2 soon',
    'a/3 with a message',
    'a/4 all',
  ])
  watch[Symbol.dispose]()
  await states.delete('a/2')
  t.is(news.length, 5)
})

test('a listing that is read while states change has all that stay', async (t) => {
  const { broker } = await startBroker(t)
  const { states } = broker
  const value = Buffer.alloc(1024 * 1024)
  for (const id of ['stays', 'goes', 'changes']) await states.save(id, value)
  await states.saveSoon('soon', value)
  const found: string[] = []
  for await (const page of states.list('')) {
    t.is(page.length, 1)
    found.push(page[0]!.id)
    if (found.length > 1) continue
    await states.delete('goes')
    await states.save('changes', Buffer.from('2'))
    await states.save('soon', Buffer.from('2'))
  }
  t.deepEqual(found.sort(), ['changes', 'soon', 'stays'])
})
