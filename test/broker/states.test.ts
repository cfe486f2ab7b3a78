import test from 'ava'
import type { State } from '../../src/model/state.ts'
import { codeOf, drain, startBroker, stateIds } from '../support/broker.ts'
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

test('versions only grow, and those that a start finds may be expected', async (t) => {
  const first = await startBroker(t)
  const before = await first.broker.states.save('c', Buffer.from('1'))
  await first.broker.states.saveSoon('c', Buffer.from('2'))
  t.true((await first.broker.states.load('c'))!.version > before)
  const { broker } = await first.reopen()
  const { version: expected } = (await broker.states.load('c'))!
  t.true((await broker.states.save('c', Buffer.from('3'), { expected })) > expected)
})

test('claims that wait end with the broker', async (t) => {
  const { broker } = await startBroker(t)
  await broker.states.claim('c', () => {})
  const claiming = broker.states.claim('c', () => {})
  await broker.close()
  t.is(await codeOf(claiming), 'CLOSED')
  t.is(await codeOf(broker.states.claim('c', () => {})), 'CLOSED')
})
