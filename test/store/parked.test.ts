import test from 'ava'
import { roundsOf } from '../../src/model/due-rounds.ts'
import { logPosition } from '../../src/model/positions.ts'
import { FakeClock } from '../support/fake-clock.ts'
import {
  checkRetention,
  DAY_MS,
  HOUR_MS,
  load,
  openSmall,
  SEGMENT_BYTES,
} from '../support/store/small-store.ts'
import { draft } from '../support/store/store-contents.ts'
import { tempDir } from '../support/temp-dir.ts'
import { countTurns, endSlicesAtOnce } from '../support/turns.ts'

test('a parked message that was put off is moved as it waits by then, and found by its first place', async (t) => {
  const clock = new FakeClock()
  const store = await openSmall(t, await tempDir(t), clock, { retentionBytes: 2 * SEGMENT_BYTES })
  const dueMs = clock.now() + DAY_MS
  const parked = draft('T', 'parked', { dueMs, rounds: { periodMs: HOUR_MS, round: 2 } })
  await store.append({ messages: [parked] })
  const [first] = store.due(dueMs, 1)
  const putOff = { entry: first!, dueMs: dueMs + 3 * HOUR_MS }
  await store.append({ messages: [], putOff: [putOff] })
  t.deepEqual((await store.parked(first!.position))!.entry, { ...first!, dueMs: putOff.dueMs })
  await load(store, 'T', 1024)
  await checkRetention(clock, () => store.status().logStart > first!.position)
  // Moves of the last two runs are remembered, later ones are looked up.
  for (let run = 0; run < 3; run++) await checkRetention(clock, () => true)
  const found = await store.parked(first!.position)
  t.deepEqual(store.due(Number.MAX_SAFE_INTEGER, 10), [found!.entry!])
  t.is(found!.entry!.dueMs, putOff.dueMs)
  t.deepEqual(roundsOf(found!.record), { periodMs: HOUR_MS, round: 5, firstPlace: first!.position })
  await store.append({ messages: [], fired: [found!.entry!] })
  t.is((await store.parked(first!.position))!.entry, undefined)
})

/** Times of as many digits as the clock has, of fewer and of more. */
const TIMES = [0, 999_999_999_999, 1_000_000_000_000, 1_700_000_000_007, 9_999_999_999_999, 1e13]

test('how a parked message waits is said behind its own properties', async (t) => {
  const store = await openSmall(t, await tempDir(t), new FakeClock())
  const rounds = { periodMs: HOUR_MS, round: 2 }
  const ways = [{}, { dueKind: 'half' }, { dueKind: 'half', rounds }, { dueKind: 'other', rounds }]
  const own = [
    { properties: Buffer.from('a\u0001b'), brokerProperties: undefined },
    { properties: Buffer.from('a\u0001b\u0002'), brokerProperties: undefined },
    { properties: Buffer.from('a\u0001b'), brokerProperties: Buffer.from('\u0002c\u0001d\u0002') },
    { properties: Buffer.alloc(0), brokerProperties: undefined },
  ]
  const drafts = [...TIMES, ...TIMES].flatMap((dueMs) =>
    ways.flatMap((way) =>
      own.flatMap((said) =>
        [0, 12].map((queueId) => draft('T', 'parked', { queueId, dueMs, ...way, ...said })),
      ),
    ),
  )
  for (const parked of drafts) {
    const [appended] = await store.append({ messages: [parked] })
    const { record, entry } = (await store.parked(appended!.position))!
    const { queueId, dueMs, dueKind, properties, brokerProperties, ...way } = parked
    t.is(entry?.dueMs, dueMs)
    t.deepEqual(
      [...record.properties()],
      Object.entries({
        ...(properties.length > 0 && { a: 'b' }),
        ...(brokerProperties && { c: 'd' }),
        ...{ TIMER_OUT_MS: String(dueMs), REAL_TOPIC: 'T', REAL_QID: String(queueId) },
        ...(dueKind && { __DUE_KIND: dueKind }),
        ...(way.rounds && { __DUE_ROUNDS: `${HOUR_MS} 2` }),
      }),
    )
  }
})

test('a parked message is copied from memory while it waits, where there is room', async (t) => {
  const store = await openSmall(t, await tempDir(t), new FakeClock())
  const [first] = await store.append({ messages: [draft('T', 'parked', { dueMs: 5 })] })
  const { position } = first!
  const { record, entry } = (await store.parked(position))!
  const target = Buffer.alloc(1000)
  t.deepEqual(store.copyParked(position, target, 10), entry)
  t.deepEqual(target.subarray(10, 10 + record.size), Buffer.from(record.bytes))
  t.is(store.copyParked(position, target, 1001 - record.size), undefined)
  t.is(store.copyParked(logPosition(position + 1), target, 0), undefined)
  t.is(store.copyParked(logPosition(position + 1e6), target, 0), undefined)
  await store.append({ messages: [], fired: [entry!] })
  t.is(store.copyParked(position, target, 0), undefined)
})

test('what ends a parked message while it is put off ends it', async (t) => {
  const clock = new FakeClock()
  const store = await openSmall(t, await tempDir(t), clock)
  const dueMs = clock.now()
  const parked = draft('T', 'parked', { dueMs, rounds: { periodMs: HOUR_MS, round: 0 } })
  await store.append({ messages: [parked] })
  const [entry] = store.due(dueMs, 1)
  const putOff = [{ entry: entry!, dueMs: dueMs + HOUR_MS }]
  const appends = [
    store.append({ messages: [], putOff }),
    store.append({ messages: [], fired: [entry!] }),
    // It is over already.
    store.append({ messages: [], putOff }),
  ]
  await Promise.all(appends)
  t.is(store.status().pendingDue, 0)
})

test('copies of parked messages that many look for at once are found over many turns', async (t) => {
  const clock = new FakeClock()
  const store = await openSmall(t, await tempDir(t), clock)
  const dueMs = clock.now() + DAY_MS
  const count = 20
  const rounds = { periodMs: HOUR_MS, round: 0 }
  const parked = () => draft('T', 'parked', { dueMs, rounds })
  await store.append({ messages: Array.from({ length: count }, parked) })
  const first = store.due(dueMs, count)
  const copies = first.map(({ position }) =>
    draft('T', 'copy', { dueMs, rounds: { ...rounds, firstPlace: position } }),
  )
  await store.append({ messages: copies, fired: first })
  endSlicesAtOnce(t, clock)
  const turns = countTurns(t)
  const found = await Promise.all(first.map(({ position }) => store.parked(position)))
  t.deepEqual(
    found.map((copy) => copy?.entry),
    store.due(dueMs, count),
  )
  t.true(turns() >= count / 2, `${turns()} turns`)
})

test('a parked message keeps its properties as they came, and how it waits stands behind them', async (t) => {
  const clock = new FakeClock()
  const store = await openSmall(t, await tempDir(t), clock)
  const dueMs = clock.now() + DAY_MS
  const closed = 'a\u00011\u0002'
  for (const [given, own, separator] of [
    [closed, undefined, ''],
    ['a\u00011', undefined, '\u0002'],
    ['', undefined, ''],
    [closed, 'CLUSTER\u0001c\u0002', ''],
    // Of another wait: it is over.
    [`${closed}TIMER_OUT_MS\u00017\u0002REAL_TOPIC\u0001old\u0002`, undefined, ''],
  ] as const) {
    const properties = Buffer.from(given)
    const brokerProperties = own && Buffer.from(own)
    const message = { ...draft('T', 'parked', { dueMs, queueId: 3 }), properties, brokerProperties }
    const [appended] = await store.append({ messages: [message] })
    const { record, entry } = (await store.parked(appended!.position))!
    const waits = `TIMER_OUT_MS\u0001${dueMs}\u0002REAL_TOPIC\u0001T\u0002REAL_QID\u00013\u0002`
    const isOther = given.includes('REAL_TOPIC')
    const expected = `${isOther ? closed : given}${separator}${own ?? ''}${waits}`
    t.is(record.propertyBytes.toString(), expected)
    t.is(entry?.dueMs, dueMs)
  }
})
