import test from 'ava'
import fc from 'fast-check'
import { committedOf, decodeCursor, encodeCursor } from '../../src/broker/facts/cursor-fact.ts'
import { FactWriter } from '../../src/broker/facts/fact-writer.ts'
import { BrokerError } from '../../src/errors.ts'
import { silentLogger } from '../../src/log.ts'
import { queueOffset } from '../../src/model/positions.ts'
import type { State } from '../../src/model/state.ts'
import type { AppendGroup, Fact, MessageStore } from '../../src/store/store.ts'
import { codeOf, drain, startBroker, stateIds } from '../support/broker.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { countTurns, endSlicesAtOnce } from '../support/turns.ts'

const MIB = 1024 * 1024
/** As long as the place of a group on a light queue may be. */
const KEY_CHARS = 32_000

const longFacts = (count: number): Fact[] =>
  Array.from({ length: count }, (_, i) => ({
    kind: 'cursor',
    key: `${i}`.padEnd(KEY_CHARS, '.'),
    value: null,
  }))

function started() {
  const appends: (readonly Fact[])[] = []
  const append = async ({ facts = [] }: AppendGroup) => {
    appends.push(facts as readonly Fact[])
    return []
  }
  const store = { append } as unknown as MessageStore
  const clock = new FakeClock()
  return { appends, clock, facts: new FactWriter(store, clock, silentLogger, 200) }
}

test('facts with long keys go in appends of bounded size, each fact once and in order', async (t) => {
  const { appends, facts } = started()
  const all = longFacts(1500)
  await facts.write(all)
  t.deepEqual(appends.flat(), all)
  for (const part of appends) t.true(part.length * KEY_CHARS < 2 * MIB + KEY_CHARS)
})

test("a caller's own first append is made once, also for no facts", async (t) => {
  const { appends, facts } = started()
  const firsts: number[] = []
  const first = async (part: readonly Fact[]) => firsts.push(part.length)
  await facts.writeBy(first, [])
  await facts.writeBy(first, longFacts(100))
  t.is(firsts.length, 2)
  t.is(firsts[0], 0)
  t.is(firsts[1]! + appends.flat().length, 100)
})

test('no facts need no append', async (t) => {
  const { appends, facts } = started()
  await facts.write([])
  t.deepEqual(appends, [])
})

/** Marks so many states that are behind; answers their keys. */
function markMany(facts: FactWriter, count: number): string[] {
  const keys = Array.from({ length: count }, (_, i) => `behind ${i}`)
  for (const key of keys) facts.mark({ fact: () => ({ kind: 'cursor', key, value: null }) })
  return keys
}

const keysOf = (appends: readonly (readonly Fact[])[]): string[] =>
  appends.flat().map(({ key }) => key)

test('what is behind is written over many turns', async (t) => {
  const { appends, clock, facts } = started()
  const keys = markMany(facts, 50)
  endSlicesAtOnce(t, clock)
  const turns = countTurns(t)
  await facts.flush()
  t.deepEqual(keysOf(appends), keys)
  t.true(turns() >= keys.length, `${turns()} turns`)
})

test('what is written while more of what is behind waits for its turn is not undone', async (t) => {
  const { appends, clock, facts } = started()
  endSlicesAtOnce(t, clock)
  let [value, wasAsked] = [Buffer.from('old'), false]
  const place = (): Fact => {
    wasAsked = true
    return { kind: 'cursor', key: 'place', value }
  }
  facts.mark({ fact: place })
  markMany(facts, 5)
  const flushing = facts.flush()
  while (!wasAsked) await new Promise((resolve) => setImmediate(resolve))
  value = Buffer.from('new')
  await facts.write([place()])
  await flushing
  const places = appends.flat().filter(({ key }) => key === 'place')
  t.is(String(places.at(-1)?.value), 'new')
})

test('what must be in the log first goes before what is behind, within the call', async (t) => {
  const { appends, clock, facts } = started()
  const keys = markMany(facts, 50)
  endSlicesAtOnce(t, clock)
  const flushing = facts.flush()
  const first = { fact: () => ({ kind: 'cursor', key: 'first', value: null }) }
  facts.mark(first)
  const writing = facts.writeFirst([first])
  t.deepEqual(keysOf(appends), ['first'])
  await Promise.all([writing, flushing])
  await facts.close()
  t.deepEqual(keysOf(appends), ['first', ...keys])
})

test('closing waits for what is being written', async (t) => {
  const { appends, clock, facts } = started()
  const keys = markMany(facts, 50)
  endSlicesAtOnce(t, clock)
  void facts.flush()
  await facts.close()
  t.deepEqual(keysOf(appends), keys)
})

const state = fc
  .tuple(
    fc.uniqueArray(fc.nat(1_000_000), { maxLength: 50 }),
    fc.integer({ min: 0, max: 2 ** 52 }),
    fc.infiniteStream(fc.nat(300)),
  )
  .map(([offsets, base, attempts]) => {
    const sorted = offsets.sort((a, b) => a - b).map((offset) => queueOffset(base + offset))
    return {
      next: queueOffset((sorted.at(-1) ?? base) + 1),
      unsettled: sorted.map((offset) => ({ offset, attempts: attempts.next().value as number })),
    }
  })

test('every place of a group is read back as it was written', (t) => {
  fc.assert(
    fc.property(state, (place) => {
      t.deepEqual(decodeCursor(encodeCursor(place)), { state: place, move: undefined })
    }),
  )
})

const offset = fc.integer({ min: 0, max: 2 ** 52 }).map(queueOffset)
const move = fc.record({ to: offset, reached: fc.option(offset, { nil: undefined }) })

test('a reset that members have to follow is read back with the place', (t) => {
  fc.assert(
    fc.property(state, move, (place, reset) => {
      t.deepEqual(decodeCursor(encodeCursor(place, reset)), { state: place, move: reset })
    }),
  )
})

test('a place with nothing in hand takes few bytes', (t) => {
  t.true(encodeCursor({ next: queueOffset(2 ** 40), unsettled: [] }).length <= 10)
})

test('the committed offset is the first that is not settled', (t) => {
  const unsettled = [{ offset: queueOffset(5), attempts: 0 }]
  t.is(committedOf({ next: queueOffset(9), unsettled }), queueOffset(5))
  t.is(committedOf({ next: queueOffset(9), unsettled: [] }), queueOffset(9))
})

test('bytes that are no place are refused, whatever they are', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      try {
        const place = decodeCursor(bytes)
        t.deepEqual(decodeCursor(encodeCursor(place.state, place.move)), place)
      } catch (error) {
        t.is(BrokerError.from(error).code, 'STORE_CORRUPT')
      }
    }),
  )
})

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
