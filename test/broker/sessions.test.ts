import test from 'ava'
import { codeOf, drain, startBroker } from '../support/broker.ts'
import { endSlicesAtOnce } from '../support/turns.ts'

const text = (state: Buffer | undefined) => state?.toString()

test('a saved session survives a crash', async (t) => {
  const first = await startBroker(t)
  await first.broker.sessions.save('mqtt/c1', Buffer.from('one'))
  const { broker } = await first.crash()
  t.is(text(await broker.sessions.load('mqtt/c1')), 'one')
})

test('a lazy save is readable at once and durable within a second', async (t) => {
  const first = await startBroker(t)
  const { sessions } = first.broker
  await sessions.save('mqtt/c1', Buffer.from('one'), { lazy: true })
  await sessions.save('mqtt/c1', Buffer.from('two'), { lazy: true })
  t.is(text(await sessions.load('mqtt/c1')), 'two')
  first.clock.advance(1000)
  await drain(first)
  t.is(text(await sessions.load('mqtt/c1')), 'two')
  const { broker } = await first.crash()
  t.is(text(await broker.sessions.load('mqtt/c1')), 'two')
})

test('the latest save wins, lazy or not', async (t) => {
  const first = await startBroker(t)
  const { sessions } = first.broker
  await sessions.save('c', Buffer.from('1'), { lazy: true })
  await sessions.save('c', Buffer.from('2'))
  first.clock.advance(1000)
  await drain(first)
  t.is(text(await sessions.load('c')), '2')
  const eager = sessions.save('c', Buffer.from('3'))
  await sessions.save('c', Buffer.from('4'), { lazy: true })
  t.is(text(await sessions.load('c')), '4')
  await eager
  t.is(text(await sessions.load('c')), '4')
  const { broker } = await first.reopen()
  t.is(text(await broker.sessions.load('c')), '4')
})

test('a deleted session stays deleted', async (t) => {
  const first = await startBroker(t)
  const { sessions } = first.broker
  await sessions.save('c', Buffer.from('1'))
  await sessions.save('c', Buffer.from('2'), { lazy: true })
  await sessions.delete('c')
  t.is(await sessions.load('c'), undefined)
  first.clock.advance(1000)
  await drain(first)
  t.is(await sessions.load('c'), undefined)
  const { broker } = await first.reopen()
  t.is(await broker.sessions.load('c'), undefined)
})

test('sessions are listed by the start of their id, saved or not yet', async (t) => {
  const { broker } = await startBroker(t)
  await broker.sessions.save('mqtt/b', Buffer.from('1'))
  await broker.sessions.save('mqtt/a', Buffer.from('1'), { lazy: true })
  await broker.sessions.save('other/c', Buffer.from('1'))
  await broker.sessions.save('mqtt/gone', Buffer.from('1'), { lazy: true })
  await broker.sessions.delete('mqtt/gone')
  t.deepEqual([...(await broker.sessions.list('mqtt/'))].sort(), ['mqtt/a', 'mqtt/b'])
})

test('the state is copied, and it and its id have limits', async (t) => {
  const { broker } = await startBroker(t)
  const state = Buffer.from('mine')
  await broker.sessions.save('c', state, { lazy: true })
  state.fill(0)
  t.is(text(await broker.sessions.load('c')), 'mine')
  t.is(await codeOf(broker.sessions.save('', state)), 'ARGUMENT_INVALID')
  t.is(await codeOf(broker.sessions.save('c', Buffer.alloc(33 * 1024 * 1024))), 'ARGUMENT_INVALID')
})

test('a save that fails is not forgotten for an earlier one that succeeds after it', async (t) => {
  const first = await startBroker(t)
  const { sessions } = first.broker
  await sessions.save('c', Buffer.from('1'), { lazy: true })
  first.clock.advance(1000)
  await sessions.save('c', Buffer.from('2'), { lazy: true })
  first.faults.isReadOnly = true
  first.clock.advance(1000)
  first.faults.isReadOnly = false
  await drain(first)
  t.is(text(await sessions.load('c')), '2')
  first.clock.advance(1000)
  await drain(first)
  const { broker } = await first.crash()
  t.is(text(await broker.sessions.load('c')), '2')
})

test('what a refused save left readable gets into the log once it can', async (t) => {
  const first = await startBroker(t)
  const { sessions } = first.broker
  await sessions.save('c', Buffer.from('1'))
  first.faults.isReadOnly = true
  t.is(await codeOf(sessions.save('c', Buffer.from('2'))), 'READ_ONLY')
  t.is(text(await sessions.load('c')), '2')
  first.faults.isReadOnly = false
  first.clock.advance(1000)
  await drain(first)
  const { broker } = await first.crash()
  t.is(text(await broker.sessions.load('c')), '2')
})

test('others have their turn while sessions are listed', async (t) => {
  const { broker, clock } = await startBroker(t)
  for (const id of ['a', 'b', 'c']) await broker.sessions.save(id, Buffer.from('1'))
  const turns = endSlicesAtOnce(t, clock)
  t.is((await broker.sessions.list('')).length, 3)
  t.is(turns().size, 4)
})
