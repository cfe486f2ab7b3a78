// What every MessageStore must do, as one suite: a driver says how to open a store and how to open
// what an earlier one left behind.
import anyTest, { type ExecutionContext, type TestFn } from 'ava'
import type { Clock } from '../../src/clock.ts'
import { BrokerError } from '../../src/errors.ts'
import { NO_HOST } from '../../src/model/host.ts'
import { lightQueueTopic, SCHEDULE_TOPIC } from '../../src/model/names.ts'
import { logPosition, queueOffset } from '../../src/model/positions.ts'
import { encodeProperties } from '../../src/model/properties.ts'
import { RecordView, recordsOf } from '../../src/model/record.ts'
import { tagHash } from '../../src/model/tag-filter.ts'
import type { Appended, MessageStore, ReadResult, StoreDraft } from '../../src/store/store.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { clockTests } from './store-clock.ts'

export interface StoreDriver {
  /** Opens the store, or again what the last one left. */
  open(clock: Clock): Promise<MessageStore>
}

const test: TestFn = anyTest
const START_MS = 1_700_000_000_000

export function draft(
  topic: string,
  body: string,
  options: {
    queueId?: number
    properties?: Iterable<readonly [string, string]>
    dueMs?: number
  } = {},
): StoreDraft {
  return {
    topic,
    queueId: options.queueId ?? 0,
    flag: 0,
    sysFlag: 0,
    bornTimestamp: START_MS,
    bornHost: NO_HOST,
    reconsumeTimes: 0,
    preparedPosition: 0,
    body: Buffer.from(body),
    properties: encodeProperties(options.properties ?? []),
    ...(options.dueMs !== undefined && { dueMs: options.dueMs }),
  }
}

export const appendOne = async (store: MessageStore, message: StoreDraft): Promise<Appended> =>
  (await store.append({ messages: [message] }))[0]!

export const readAll = (
  store: MessageStore,
  topic: string,
  offset = 0,
  options: { queueId?: number; maxMessages?: number; maxBytes?: number; tags?: string[] } = {},
): ReadResult | Promise<ReadResult> =>
  store.read({
    topic,
    queueId: options.queueId ?? 0,
    offset: queueOffset(offset),
    maxMessages: options.maxMessages ?? 1000,
    maxBytes: options.maxBytes ?? 1 << 20,
    hashes: options.tags && new Set(options.tags.map(tagHash)),
  })

export const bodies = (result: ReadResult): string[] =>
  [...recordsOf(result.records)].map((record) => record.body.toString())

type Body = (t: ExecutionContext, open: () => Promise<MessageStore>, clock: FakeClock) => unknown

/** Declares the suite for one kind of store. */
export function storeSuite(name: string, driverOf: (t: ExecutionContext) => Promise<StoreDriver>) {
  const check = (title: string, body: Body): void => {
    test(`${name}: ${title}`, async (t) => {
      const driver = await driverOf(t)
      const clock = new FakeClock(START_MS)
      const opened: MessageStore[] = []
      t.teardown(() => Promise.all(opened.map((store) => store.close())))
      const open = async (): Promise<MessageStore> => {
        const store = await driver.open(clock)
        opened.push(store)
        return store
      }
      await body(t, open, clock)
    })
  }
  queueTests(check)
  factTests(check)
  clockTests(check)
  dueTests(check)
  lightQueueTests(check)
  lookupTests(check)
}

type Check = (title: string, body: Body) => void

function queueTests(check: Check): void {
  check('what was appended is read back in order with its offsets', async (t, open) => {
    const store = await open()
    const appended = await store.append({ messages: [draft('T', 'a'), draft('T', 'b')] })
    t.deepEqual(
      appended.map((a) => a.queueOffset),
      [0, 1].map(queueOffset),
    )
    const result = await readAll(store, 'T')
    t.is(result.status, 'found')
    t.deepEqual(bodies(result), ['a', 'b'])
    t.deepEqual(result.offsets, [0, 1].map(queueOffset))
    t.is(result.nextOffset, queueOffset(2))
    t.deepEqual(
      [...recordsOf(result.records)].map((record) => record.position),
      appended.map((a) => a.position),
    )
  })

  check('queues of a topic and topics have offsets of their own', async (t, open) => {
    const store = await open()
    await store.append({
      messages: [draft('T', 'a'), draft('T', 'b', { queueId: 3 }), draft('U', 'c')],
    })
    t.deepEqual(bodies(await readAll(store, 'T')), ['a'])
    t.deepEqual(bodies(await readAll(store, 'T', 0, { queueId: 3 })), ['b'])
    t.deepEqual(bodies(await readAll(store, 'U')), ['c'])
    t.deepEqual(store.range('T', 1), { minOffset: queueOffset(0), maxOffset: queueOffset(0) })
    t.deepEqual([...store.topics()].sort(), ['T', 'U'])
  })

  check('messages and offsets are there after a reopening', async (t, open) => {
    const before = await open()
    for (let i = 0; i < 100; i++) await appendOne(before, draft('T', `m${i}`))
    await before.close()
    const store = await open()
    t.deepEqual(
      bodies(await readAll(store, 'T')),
      Array.from({ length: 100 }, (_, i) => `m${i}`),
    )
    t.is((await appendOne(store, draft('T', 'next'))).queueOffset, queueOffset(100))
    t.deepEqual(bodies(await readAll(store, 'T', 100)), ['next'])
  })

  check('a read keeps to its limits but gives one message at least', async (t, open) => {
    const store = await open()
    for (let i = 0; i < 50; i++) await appendOne(store, draft('T', 'x'.repeat(100)))
    t.is((await readAll(store, 'T', 0, { maxMessages: 7 })).offsets.length, 7)
    t.is((await readAll(store, 'T', 0, { maxBytes: 1 })).offsets.length, 1)
    const some = await readAll(store, 'T', 10, { maxBytes: 1000 })
    t.true(some.records.length <= 1000 && some.offsets.length > 1)
    t.is(some.nextOffset, queueOffset(10 + some.offsets.length))
  })

  check('a read at the end, beyond it and in an unknown queue says so', async (t, open) => {
    const store = await open()
    await appendOne(store, draft('T', 'a'))
    t.is((await readAll(store, 'T', 1)).status, 'at-end')
    const beyond = await readAll(store, 'T', 9)
    t.is(beyond.status, 'moved')
    t.is(beyond.nextOffset, queueOffset(1))
    t.is((await readAll(store, 'U', 0)).status, 'at-end')
    t.is((await readAll(store, 'U', 5)).status, 'moved')
  })

  check('a read by tags gives the matching messages and passes the others', async (t, open) => {
    const store = await open()
    const tags = ['A', 'B', 'A', 'C', '']
    const messages = tags.map((tag, i) => draft('T', `${i}`, { properties: [['TAGS', tag]] }))
    await store.append({ messages })
    const some = await readAll(store, 'T', 0, { tags: ['A', 'C'] })
    t.deepEqual(bodies(some), ['0', '2', '3'])
    t.deepEqual(some.offsets, [0, 2, 3].map(queueOffset))
    t.is(some.nextOffset, queueOffset(5))
    const none = await readAll(store, 'T', 0, { tags: ['D'] })
    t.is(none.status, 'no-match')
    t.is(none.nextOffset, queueOffset(5))
  })

  check('dropped queues start again at 0, also after a reopening', async (t, open) => {
    const before = await open()
    await before.append({ messages: [draft('T', 'a'), draft('T', 'b')] })
    const dropped = before.dropQueues('T')
    const appended = appendOne(before, draft('T', 'c'))
    await dropped
    t.is((await appended).queueOffset, queueOffset(0))
    t.deepEqual(bodies(await readAll(before, 'T')), ['c'])
    await before.close()
    const store = await open()
    t.deepEqual(bodies(await readAll(store, 'T')), ['c'])
    t.is((await appendOne(store, draft('T', 'd'))).queueOffset, queueOffset(1))
  })

  check(
    'of a dropped topic nothing is left anywhere, nor of its namesake lost',
    async (t, open) => {
      const before = await open()
      const of = (body: string, topic = 'T', from = 'T'): StoreDraft =>
        draft(topic, body, {
          properties: [
            ['KEYS', 'k'],
            ['RETRY_TOPIC', from],
          ],
        })
      const send = (name: string) => [
        of(name),
        of(`other ${name}`, 'U', 'U'),
        of(`retry ${name}`, '%RETRY%g'),
        of(`other retry ${name}`, '%RETRY%g', 'U'),
        of(`dead ${name}`, '%DLQ%g'),
        { ...of(`parked ${name}`), dueMs: START_MS + 1 },
        { ...of(`parked retry ${name}`, '%RETRY%g'), dueMs: START_MS + 2 },
      ]
      await before.bindLightQueue('#', true)
      await before.append({ messages: send('old') })
      await before.dropQueues('T')
      await before.append({ messages: send('new') })
      const look = async (store: MessageStore): Promise<void> => {
        const keyed = await store.findByKey('T', 'k', { max: 10 })
        t.deepEqual(
          keyed.map((record) => new RecordView(record).body.toString()),
          ['new'],
        )
        t.deepEqual(bodies(await readAll(store, lightQueueTopic('#'))), [
          'other old',
          'new',
          'other new',
        ])
        const retries = await readAll(store, '%RETRY%g')
        t.deepEqual(bodies(retries), ['other retry old', 'retry new', 'other retry new'])
        t.deepEqual(retries.offsets, [1, 2, 3].map(queueOffset))
        t.deepEqual(bodies(await readAll(store, '%DLQ%g')), ['dead old', 'dead new'])
        const parked: string[] = []
        for (const { position } of store.due(START_MS + 2, 10)) {
          const record = new RecordView((await store.readAt(position))!)
          if (!store.isDropped(record)) parked.push(record.body.toString())
        }
        t.deepEqual(parked, ['parked new', 'parked retry new'])
      }
      await look(before)
      await before.close()
      await look(await open())
    },
  )

  check('a fact may be a message of its group, whole, as the log has it', async (t, open) => {
    const before = await open()
    const parkedUntil = { dueMs: START_MS + 3_600_000 }
    const messages = [draft('T', 'a'), draft('U', 'b', parkedUntil), draft('T', 'c')]
    const appended = await before.append({
      messages,
      facts: messages.map((_, message) => ({ kind: 'r', key: `${message}`, message })),
    })
    const check = async (store: MessageStore) => {
      for (const [i, { position }] of appended.entries()) {
        const record = store.fact('r', `${i}`)
        t.deepEqual(record, await store.readAt(position))
        t.is(record && new RecordView(record).body.toString(), 'abc'[i])
      }
    }
    await check(before)
    await before.close()
    await check(await open())
  })

  check('of a value and a message for one fact the later holds', async (t, open) => {
    const store = await open()
    const value = { kind: 'r', key: 'k', value: Buffer.from('value') }
    const record = { kind: 'r', key: 'k', message: 0 }
    await store.append({ messages: [draft('T', 'a')], facts: [record, value] })
    t.is(store.fact('r', 'k')?.toString(), 'value')
    await store.append({ messages: [draft('T', 'b')], facts: [value, record] })
    t.is(new RecordView(store.fact('r', 'k')!).body.toString(), 'b')
  })

  check('a message as large as a frame takes is a fact as well', async (t, open) => {
    const store = await open()
    const body = 'x'.repeat(4 * 1024 * 1024)
    const facts = [{ kind: 'r', key: 'k', message: 0 }]
    await store.append({ messages: [draft('T', body)], facts })
    t.is(new RecordView(store.fact('r', 'k')!).body.length, body.length)
  })

  check('what goes with a bound or dropped queue is written with it', async (t, open) => {
    const before = await open()
    const said = (value: string | null) => [
      { kind: 'f', key: 'k', value: value === null ? null : Buffer.from(value) },
    ]
    for (const value of ['bound', 'bound again']) {
      await before.bindLightQueue('T', true, said(value))
      t.is(before.fact('f', 'k')?.toString(), value)
    }
    await before.dropQueues('T', said('dropped'))
    t.is(before.fact('f', 'k')?.toString(), 'dropped')
    await before.unbindLightQueue('T', true, said(null))
    t.is(before.fact('f', 'k'), undefined)
    await before.close()
    t.is((await open()).fact('f', 'k'), undefined)
  })

  check('listeners hear of arrivals after they are readable', async (t, open) => {
    const store = await open()
    const heard: string[] = []
    store.onArrival((topic, queueId, maxOffset) => {
      heard.push(`${topic}/${queueId}@${maxOffset}:${store.range(topic, queueId).maxOffset}`)
    })
    await store.append({ messages: [draft('T', 'a'), draft('T', 'b'), draft('U', 'c')] })
    t.deepEqual(heard, ['T/0@2:2', 'U/0@1:1'])
  })

  check('a refused append leaves no hole in the offsets', async (t, open) => {
    const store = await open()
    await appendOne(store, draft('T', 'a'))
    const tooLarge = draft('T', 'x'.repeat(64 * 1024 * 1024))
    await t.throwsAsync(store.append({ messages: [draft('T', 'b'), tooLarge] }), {
      instanceOf: BrokerError,
      code: 'MESSAGE_TOO_LARGE',
    })
    t.is((await appendOne(store, draft('T', 'c'))).queueOffset, queueOffset(1))
    t.deepEqual(bodies(await readAll(store, 'T')), ['a', 'c'])
  })

  check('a closed store refuses with CLOSED', async (t, open) => {
    const store = await open()
    await store.close()
    await t.throwsAsync(appendOne(store, draft('T', 'a')), {
      instanceOf: BrokerError,
      code: 'CLOSED',
    })
  })
}

function factTests(check: Check): void {
  check('the newest value of a fact holds, also after a reopening', async (t, open) => {
    const before = await open()
    const value = Buffer.from('1')
    await before.append({ messages: [], facts: [{ kind: 'k', key: 'b', value }] })
    await before.append({
      messages: [],
      facts: [
        { kind: 'k', key: 'a', value: Buffer.from('2') },
        { kind: 'k', key: 'b', value: Buffer.from('3') },
        { kind: 'k', key: 'gone', value: Buffer.from('4') },
        { kind: 'other', key: 'b', value: Buffer.alloc(0) },
      ],
    })
    await before.append({ messages: [], facts: [{ kind: 'k', key: 'gone', value: null }] })
    await before.close()
    const store = await open()
    t.is(store.fact('k', 'b')?.toString(), '3')
    t.is(store.fact('k', 'gone'), undefined)
    t.is(store.fact('other', 'b')?.length, 0)
    t.deepEqual([...store.facts('k')].map(([key, bytes]) => `${key}=${bytes}`).sort(), [
      'a=2',
      'b=3',
    ])
  })

  check('a fact that is too long is refused and named', async (t, open) => {
    const store = await open()
    const facts = [{ kind: 'k'.repeat(40), key: 'a', value: null }]
    await t.throwsAsync(store.append({ messages: [], facts }), { code: 'ARGUMENT_INVALID' })
    await t.notThrowsAsync(appendOne(store, draft('T', 'a')))
  })
}

function dueTests(check: Check): void {
  check('a parked message is due in time order and gone once fired', async (t, open) => {
    const before = await open()
    const late = await appendOne(before, draft('T', 'late', { dueMs: START_MS + 5000 }))
    const early = await appendOne(before, draft('T', 'early', { dueMs: START_MS + 1000 }))
    t.is(before.range('T', 0).maxOffset, queueOffset(0))
    t.is(before.nextDueMs(), START_MS + 1000)
    t.deepEqual(before.due(START_MS + 999, 10), [])
    t.deepEqual(
      before.due(START_MS + 5000, 10).map((entry) => entry.position),
      [early.position, late.position],
    )
    await before.append({
      messages: [draft('T', 'early')],
      fired: [{ dueMs: START_MS + 1000, position: early.position }],
    })
    await before.close()
    const store = await open()
    t.is(store.status().pendingDue, 1)
    t.is(store.nextDueMs(), START_MS + 5000)
    const [entry] = store.due(START_MS + 5000, 10)
    const record = new RecordView((await store.readAt(entry!.position))!)
    t.is(record.topic, SCHEDULE_TOPIC)
    t.is(record.body.toString(), 'late')
    t.is(record.property('REAL_TOPIC'), 'T')
    t.is(record.property('REAL_QID'), '0')
    t.is(record.property('TIMER_OUT_MS'), String(START_MS + 5000))
  })

  check('many parked messages come due in order', async (t, open) => {
    const store = await open()
    const dues = Array.from({ length: 2000 }, (_, i) => START_MS + ((i * 7919) % 2003))
    await store.append({ messages: dues.map((dueMs) => draft('T', '', { dueMs })) })
    t.deepEqual(
      store.due(START_MS + 3000, 3000).map((entry) => entry.dueMs),
      dues.sort((a, b) => a - b),
    )
    t.is(store.due(START_MS + 3000, 3).length, 3)
  })
}

function lightQueueTests(check: Check): void {
  check('a durable light queue lists matches from its binding on', async (t, open) => {
    const before = await open()
    await appendOne(before, draft('T', 'early'))
    await before.bindLightQueue('T/+', true)
    await before.bindLightQueue('T/+', true)
    const tagged = (tag: string, body: string): StoreDraft =>
      draft('T', body, { properties: [['TAGS', tag]] })
    await before.append({ messages: [tagged('x', 'a'), draft('T', 'b'), tagged('y', 'c')] })
    const topic = lightQueueTopic('T/+')
    t.deepEqual(bodies(await readAll(before, topic)), ['a', 'c'])
    await before.close()
    const store = await open()
    await appendOne(store, tagged('z', 'd'))
    const result = await readAll(store, topic)
    t.deepEqual(bodies(result), ['a', 'c', 'd'])
    t.deepEqual(result.offsets, [0, 1, 2].map(queueOffset))
    await store.unbindLightQueue('T/+', true)
    t.is(store.range(topic, 0).maxOffset, queueOffset(0))
  })

  check('a published MQTT topic is what filters see', async (t, open) => {
    const store = await open()
    await store.bindLightQueue('a/#', true)
    const properties = [['MQTT_TOPIC', 'a/b/c']] as const
    await appendOne(store, draft('MQTT', 'm', { properties }))
    t.deepEqual(bodies(await readAll(store, lightQueueTopic('a/#'))), ['m'])
  })

  check('a live light queue is counted, apart from a durable one', async (t, open) => {
    const before = await open()
    await before.bindLightQueue('T', false)
    await before.bindLightQueue('T', false)
    await appendOne(before, draft('T', 'a'))
    await before.bindLightQueue('T', true)
    await appendOne(before, draft('T', 'b'))
    const live = lightQueueTopic('T', false)
    t.deepEqual(bodies(await readAll(before, live)), ['a', 'b'])
    t.deepEqual(bodies(await readAll(before, lightQueueTopic('T'))), ['b'])
    await before.unbindLightQueue('T', false)
    await appendOne(before, draft('T', 'c'))
    t.is(before.range(live, 0).maxOffset, queueOffset(3))
    await before.unbindLightQueue('T', false)
    t.is(before.range(live, 0).maxOffset, queueOffset(0))
    await before.close()
    const store = await open()
    t.is(store.range(live, 0).maxOffset, queueOffset(0))
    t.deepEqual(bodies(await readAll(store, lightQueueTopic('T'))), ['b', 'c'])
  })

  check('retries and dead letters are in no light queue', async (t, open) => {
    const store = await open()
    await store.bindLightQueue('#', true)
    const properties = [['MQTT_TOPIC', 'a']] as const
    await appendOne(store, draft('%RETRY%g', 'r', { properties }))
    await appendOne(store, draft('%DLQ%g', 'd', { properties }))
    await appendOne(store, draft('MQTT', 'm', { properties }))
    t.deepEqual(bodies(await readAll(store, lightQueueTopic('#'))), ['m'])
  })

  check('a filter that is none is refused', async (t, open) => {
    const store = await open()
    await t.throwsAsync(store.bindLightQueue('a/#/b', true), { code: 'FILTER_INVALID' })
  })
}

function lookupTests(check: Check): void {
  check('a record is found by its position and only there', async (t, open) => {
    const store = await open()
    const [, second] = await store.append({ messages: [draft('T', 'a'), draft('T', 'b')] })
    const record = await store.readAt(second!.position)
    t.is(new RecordView(record!).body.toString(), 'b')
    t.is(await store.readAt(logPosition(second!.position + 1)), undefined)
    t.is(await store.readAt(logPosition(second!.position + 100_000)), undefined)
  })

  check('records are found by key and unique id, newest first', async (t, open, clock) => {
    const before = await open()
    const keyed = (topic: string, body: string, keys: string): StoreDraft =>
      draft(topic, body, {
        properties: [
          ['KEYS', keys],
          ['UNIQ_KEY', `id-${body}`],
        ],
      })
    await appendOne(before, keyed('T', 'a', 'k1 k2'))
    clock.advance(1000)
    await appendOne(before, keyed('T', 'b', 'k2'))
    await appendOne(before, keyed('U', 'c', 'k2'))
    await before.close()
    const store = await open()
    const find = async (topic: string, key: string, options = {}): Promise<string[]> =>
      (await store.findByKey(topic, key, { max: 10, ...options })).map((record) =>
        new RecordView(record).body.toString(),
      )
    t.deepEqual(await find('T', 'k2'), ['b', 'a'])
    t.deepEqual(await find('T', 'k1'), ['a'])
    t.deepEqual(await find('T', 'k'), [])
    t.deepEqual(await find('U', 'id-c'), ['c'])
    t.deepEqual(await find('T', 'k2', { max: 1 }), ['b'])
    t.deepEqual(await find('T', 'k2', { toMs: START_MS + 500 }), ['a'])
    t.deepEqual(await find('T', 'k2', { fromMs: START_MS + 500 }), ['b'])
  })

  check('offsets are found by time', async (t, open, clock) => {
    const store = await open()
    for (let i = 0; i < 100; i++) {
      await appendOne(store, draft('T', `${i}`))
      clock.advance(10)
    }
    for (const i of [0, 1, 50, 99]) {
      t.is(await store.offsetByTime('T', 0, START_MS + i * 10), queueOffset(i))
      t.is(await store.offsetByTime('T', 0, START_MS + i * 10 - 1), queueOffset(i))
    }
    t.is(await store.offsetByTime('T', 0, START_MS + 10_000), queueOffset(100))
  })
}
