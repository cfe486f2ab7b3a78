import test from 'ava'
import { FactWriter } from '../../src/broker/facts/fact-writer.ts'
import { silentLogger } from '../../src/log.ts'
import type { AppendGroup, Fact, MessageStore } from '../../src/store/store.ts'
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
