import { createHook } from 'node:async_hooks'
import test, { type ExecutionContext } from 'ava'
import type { BrokerOptions } from '../../../src/broker/options.ts'
import { BrokerError } from '../../../src/errors.ts'
import type { PublishReceipt } from '../../../src/model/message.ts'
import { topicOfWire } from '../../../src/model/names.ts'
import { queueOffset } from '../../../src/model/positions.ts'
import { PROPERTY } from '../../../src/model/properties.ts'
import { RecordView, recordsOf } from '../../../src/model/record.ts'
import type { TransactionCheck, TransactionEnd } from '../../../src/model/transaction.ts'
import {
  bodiesOf,
  codeOf,
  codesOf,
  drain,
  newMessage,
  pullRequest,
  startBroker,
  type TestBroker,
  topicOf,
} from '../../support/broker.ts'

const GROUP = 'shop'
const TIMEOUT_MS = 6_000
const INTERVAL_MS = 30_000
const HOUR_MS = 3_600_000
const GIVEN_UP = 'TRANS_CHECK_MAX_TIME_TOPIC'

const halfMessage = (
  { clock }: TestBroker,
  body: string,
  properties: Record<string, string> = {},
) => {
  const own = { TRAN_MSG: 'true', PGROUP: GROUP, UNIQ_KEY: `id-${body}`, ...properties }
  const bornTimestamp = clock.now()
  return newMessage('orders', { queueId: 0, body, properties: own, bornTimestamp })
}

async function prepare(
  at: TestBroker,
  body: string,
  properties?: Record<string, string>,
): Promise<PublishReceipt> {
  const [result] = await at.broker.publish([halfMessage(at, body, properties)])
  if (result === undefined || result instanceof BrokerError) throw result
  return result
}

const end = (
  { broker }: TestBroker,
  half: PublishReceipt,
  outcome: TransactionEnd['outcome'],
): Promise<void> => broker.transactions.end({ half, group: GROUP, outcome })

const bodiesIn = async ({ broker }: TestBroker, topic: string): Promise<string[]> =>
  bodiesOf(await broker.pull(pullRequest(topic, { maxBytes: 1 << 24, maxMessages: 1000 })))

/** Time passes, and what is due then is done. */
async function pass(at: TestBroker, ms: number): Promise<void> {
  at.clock.advance(ms)
  for (let i = 0; i < 4; i++) await drain(at)
}

function watchChecks({ broker }: TestBroker): TransactionCheck[] {
  const checks: TransactionCheck[] = []
  broker.transactions.watch({ mayAsk: () => true, ask: (check) => void checks.push(check) })
  return checks
}

const register = ({ broker }: TestBroker, connectionId = 'c1') =>
  broker.clients.register({
    ...{ clientId: connectionId, connectionId, protocol: 'remoting', address: 'a:1' },
    ...{ language: 'JAVA', version: 0, consumers: [], producerGroups: [GROUP] },
  })

async function startOrders(
  t: ExecutionContext,
  options: Partial<BrokerOptions> = {},
): Promise<TestBroker> {
  const test = await startBroker(t, { clientExpiryMs: 1000 * HOUR_MS, ...options })
  await test.broker.topics.put(topicOf('orders', 1))
  return test
}

test.serial(
  'ends of one half that come together wait each for the one before it alone',
  async (t) => {
    const at = await startOrders(t)
    const half = await prepare(at, 'a')
    const count = 1000
    let promises = 0
    const hook = createHook({
      init: (_, type) => {
        if (type === 'PROMISE') promises++
      },
    }).enable()
    await Promise.all(Array.from({ length: count }, () => end(at, half, 'commit')))
    hook.disable()
    t.true(promises < 100 * count, `${promises} promises`)
    t.deepEqual(await bodiesIn(at, 'orders'), ['a'])
  },
)

test('what became of decided halves is looked up for one end at a time', async (t) => {
  const at = await startOrders(t)
  const halves = await Promise.all(['a', 'b', 'c', 'd'].map((body) => prepare(at, body)))
  await Promise.all(halves.map((half) => end(at, half, 'commit')))
  const real = at.store.findByKey.bind(at.store)
  let open = 0
  let most = 0
  at.store.findByKey = async (...args) => {
    most = Math.max(most, ++open)
    return real(...args).finally(() => open--)
  }
  const again = halves.map((half) => codeOf(end(at, half, 'rollback')))
  t.deepEqual(new Set(await Promise.all(again)), new Set(['MESSAGE_NOT_FOUND']))
  t.is(most, 1)
})

test('the first check is due six seconds after the message was born, the next ones every thirty', async (t) => {
  const at = await startOrders(t)
  const checks = watchChecks(at)
  await register(at)
  const half = await prepare(at, 'a')
  await pass(at, TIMEOUT_MS - 1)
  t.is(checks.length, 0)
  await pass(at, 1)
  t.is(checks.length, 1)
  for (let n = 2; n <= 15; n++) {
    await pass(at, INTERVAL_MS - 1)
    t.is(checks.length, n - 1)
    await pass(at, 1)
    t.is(checks.length, n)
    const record = new RecordView(checks.at(-1)!.record)
    t.is(record.property(PROPERTY.transactionCheckTimes), String(n))
    t.is(record.position, half.position)
  }
  t.deepEqual(await bodiesIn(at, GIVEN_UP), [])
  await pass(at, INTERVAL_MS)
  t.is(checks.length, 15)
  t.deepEqual(await bodiesIn(at, GIVEN_UP), ['a'])
  t.is(await codeOf(end(at, half, 'commit')), 'MESSAGE_NOT_FOUND')
  t.deepEqual(await bodiesIn(at, 'orders'), [])
  t.is((await at.broker.status()).pendingDelayed, 0)
})

test('a producer may say when it wants to be asked first', async (t) => {
  const at = await startOrders(t)
  const checks = watchChecks(at)
  await register(at)
  await prepare(at, 'a', { [PROPERTY.checkImmunitySeconds]: '100' })
  await pass(at, 99_999)
  t.is(checks.length, 0)
  await pass(at, 1)
  t.is(checks.length, 1)
})

for (const [whose, offMs, afterMs] of [
  ['an hour ahead', HOUR_MS, TIMEOUT_MS],
  ['two seconds late', -2000, TIMEOUT_MS - 2000],
  ['an hour behind', -HOUR_MS, TIMEOUT_MS],
] as const) {
  test(`a message whose producer's clock is ${whose} is checked first after ${afterMs} ms`, async (t) => {
    const at = await startOrders(t)
    const checks = watchChecks(at)
    await register(at)
    const message = { ...halfMessage(at, 'a'), bornTimestamp: at.clock.now() + offMs }
    await at.broker.publish([message])
    await pass(at, afterMs - 1)
    t.is(checks.length, 0)
    await pass(at, 1)
    t.is(checks.length, 1)
  })
}

test('live producers of a group are asked in turn', async (t) => {
  const at = await startOrders(t)
  const checks = watchChecks(at)
  for (const id of ['c1', 'c2']) await register(at, id)
  await prepare(at, 'a')
  await pass(at, TIMEOUT_MS)
  for (let n = 0; n < 3; n++) await pass(at, INTERVAL_MS)
  t.deepEqual(
    checks.map(({ connectionId }) => connectionId),
    ['c1', 'c2', 'c1', 'c2'],
  )
})

test('a producer that may not be asked is passed over, and alone it makes no check count', async (t) => {
  const at = await startOrders(t)
  const checks: TransactionCheck[] = []
  const asked: string[] = []
  at.broker.transactions.watch({
    mayAsk: ({ connectionId, topic }) => {
      asked.push(topic)
      return connectionId.startsWith('c')
    },
    ask: (check) => void checks.push(check),
  })
  for (const id of ['stranger 1', 'stranger 2']) await register(at, id)
  await prepare(at, 'a')
  for (let n = 0; n < 20; n++) await pass(at, HOUR_MS)
  t.is(checks.length, 0)
  await register(at, 'c1')
  for (let n = 0; n < 10; n++) await pass(at, HOUR_MS)
  t.is(new RecordView(checks[0]!.record).property(PROPERTY.transactionCheckTimes), '1')
  t.true(checks.length > 1)
  t.deepEqual([...new Set(checks.map(({ connectionId }) => connectionId))], ['c1'])
  t.deepEqual([...new Set(asked)], ['orders'])
})

test('commits of one call are stored in its order, those too that name light queues', async (t) => {
  const at = await startOrders(t)
  const named = { INNER_MULTI_DISPATCH: '%LMQ%a' }
  const halves = [await prepare(at, 'a'), await prepare(at, 'b', named), await prepare(at, 'c')]
  await at.broker.transactions.endAll(
    halves.map((half) => ({ half, group: GROUP, outcome: 'commit' as const })),
  )
  t.deepEqual(await bodiesIn(at, 'orders'), ['a', 'b', 'c'])
  t.deepEqual(await bodiesIn(at, topicOfWire('%LMQ%a')), ['b'])
})

test('while no producer is there no check counts, and its answer finds the message', async (t) => {
  const at = await startOrders(t)
  const checks = watchChecks(at)
  const half = await prepare(at, 'a')
  for (let n = 0; n < 30; n++) await pass(at, HOUR_MS)
  t.is(checks.length, 0)
  await register(at)
  for (let n = 0; n < 10; n++) await pass(at, HOUR_MS)
  t.is(new RecordView(checks[0]!.record).property(PROPERTY.transactionCheckTimes), '1')
  t.is(checks[0]!.half.position, half.position)
  await end(at, half, 'commit')
  await end(at, half, 'commit')
  t.deepEqual(await bodiesIn(at, 'orders'), ['a'])
  t.is((await at.broker.status()).pendingDelayed, 0)
})

test('a half message that is open for three days is given up', async (t) => {
  const at = await startOrders(t)
  await prepare(at, 'a')
  for (let n = 0; n < 71; n++) await pass(at, HOUR_MS)
  t.deepEqual(await bodiesIn(at, GIVEN_UP), [])
  for (let n = 0; n < 30; n++) await pass(at, HOUR_MS)
  t.deepEqual(await bodiesIn(at, GIVEN_UP), ['a'])
})

test('after hours without the broker a half message is checked once, not for all that time', async (t) => {
  const before = await startOrders(t)
  const half = await prepare(before, 'a')
  await before.close()
  before.clock.advance(5 * HOUR_MS)
  const at = await before.reopen()
  const checks = watchChecks(at)
  await register(at)
  for (let n = 0; n < 3; n++) await pass(at, HOUR_MS + n * HOUR_MS)
  t.true(checks.length > 0 && checks.length <= 3, `${checks.length} checks`)
  await end(at, half, 'commit')
  t.deepEqual(await bodiesIn(at, 'orders'), ['a'])
})

test('a delay of a half message counts from its commit', async (t) => {
  const at = await startOrders(t)
  const half = await prepare(at, 'a', { TIMER_DELAY_MS: '10000' })
  await pass(at, 60_000)
  await end(at, half, 'commit')
  await pass(at, 9_999)
  t.deepEqual(await bodiesIn(at, 'orders'), [])
  await pass(at, 1)
  t.deepEqual(await bodiesIn(at, 'orders'), ['a'])
})

test('a delay that became too long since is kept by the commit', async (t) => {
  const before = await startOrders(t, { delayMsMax: HOUR_MS })
  const half = await prepare(before, 'a', { TIMER_DELAY_MS: String(HOUR_MS) })
  const at = await before.reopen({ delayMsMax: 1000 })
  await end(at, half, 'commit')
  await pass(at, HOUR_MS - 1)
  t.deepEqual(await bodiesIn(at, 'orders'), [])
  await pass(at, 1)
  t.deepEqual(await bodiesIn(at, 'orders'), ['a'])
})

test('a delay that cannot be kept is refused before the transaction begins', async (t) => {
  const at = await startOrders(t)
  const message = halfMessage(at, 'a', { TIMER_DELAY_MS: 'soon' })
  t.deepEqual(codesOf(await at.broker.publish([message])), ['MESSAGE_INVALID'])
})

test('a half message in a batch is refused with the whole batch', async (t) => {
  const at = await startOrders(t)
  const messages = [newMessage('orders', { queueId: 0, body: 'plain' }), halfMessage(at, 'a')]
  t.is(await codeOf(at.broker.publishTogether(messages)), 'MESSAGE_INVALID')
  t.deepEqual(await bodiesIn(at, 'orders'), [])
})

test('a message that says TRAN_MSG false is no half message', async (t) => {
  const at = await startOrders(t)
  await at.broker.publish([halfMessage(at, 'a', { TRAN_MSG: 'false' })])
  t.deepEqual(await bodiesIn(at, 'orders'), ['a'])
})

test('with its topic a half message goes', async (t) => {
  const at = await startOrders(t)
  const half = await prepare(at, 'a')
  await at.broker.topics.delete('orders')
  await at.broker.topics.put(topicOf('orders', 1))
  t.is(await codeOf(end(at, half, 'commit')), 'TOPIC_NOT_FOUND')
  t.is((await at.broker.status()).pendingDelayed, 0)
  t.deepEqual(await bodiesIn(at, 'orders'), [])
})

test('a commit that a full disk refuses may be made again', async (t) => {
  const at = await startOrders(t)
  const half = await prepare(at, 'a')
  at.faults.isReadOnly = true
  t.is(await codeOf(end(at, half, 'commit')), 'READ_ONLY')
  at.faults.becomesWritable()
  await end(at, half, 'commit')
  t.deepEqual(await bodiesIn(at, 'orders'), ['a'])
})

test('a rollback does not go with the commits of its call, which a full disk refuses', async (t) => {
  const at = await startOrders(t)
  const [kept, undone] = [await prepare(at, 'a'), await prepare(at, 'b')]
  const ends: (readonly [messages: number, isNew: boolean | undefined])[] = []
  at.faults.beforeAppend = ({ messages, isNew, fired }) => {
    if (fired !== undefined) ends.push([messages.length, isNew])
  }
  await at.broker.transactions.endAll([
    { half: kept, group: GROUP, outcome: 'commit' },
    { half: undone, group: GROUP, outcome: 'rollback' },
  ])
  t.deepEqual(ends, [
    [0, false],
    [1, true],
  ])
})

test('an end that overtakes the answer to a check is not undone by the next one', async (t) => {
  const at = await startOrders(t)
  const checks = watchChecks(at)
  await register(at)
  const half = await prepare(at, 'a')
  at.clock.advance(TIMEOUT_MS)
  // The check is being put off by now, or will be: whichever comes first, the end holds.
  await Promise.all([end(at, half, 'commit'), pass(at, 0)])
  for (let n = 0; n < 3; n++) await pass(at, INTERVAL_MS)
  t.true(checks.length <= 1)
  t.deepEqual(await bodiesIn(at, 'orders'), ['a'])
  t.is((await at.broker.status()).pendingDelayed, 0)
})

/** Four transactions, one of them asked for; `known` is what the client was told of. */
async function trade(at: TestBroker, known: Map<string, PublishReceipt>): Promise<void> {
  await register(at)
  for (const body of ['commit 1', 'rollback 1', 'commit 2', 'rollback 2']) {
    known.set(body, await prepare(at, body))
  }
  const endOf = (body: string) =>
    end(at, known.get(body)!, body.startsWith('commit') ? 'commit' : 'rollback')
  await endOf('commit 1')
  await endOf('rollback 1')
  await pass(at, TIMEOUT_MS)
  await pass(at, INTERVAL_MS)
  await endOf('commit 2')
  await endOf('rollback 2')
}

test('killed before any append, a broker loses no transaction and doubles none', async (t) => {
  const whole = await startOrders(t)
  await trade(whole, new Map())
  const appends = whole.faults.appends
  t.true(appends > 8)
  for (let diesAt = 2; diesAt <= appends; diesAt++) {
    const before = await startOrders(t)
    const known = new Map<string, PublishReceipt>()
    before.faults.diesAt = diesAt
    const died = new Promise<void>((resolve) => {
      before.faults.died = resolve
    })
    await Promise.race([trade(before, known).catch(() => {}), died])
    await before.faults.idle()
    const after = await before.crash()
    before.faults.bury()
    // The producer tries again what it was not told of, and is asked about the rest.
    for (const [body, half] of known) {
      await end(after, half, body.startsWith('commit') ? 'commit' : 'rollback')
    }
    const found = await bodiesIn(after, 'orders')
    const expected = [...known.keys()].filter((body) => body.startsWith('commit'))
    t.deepEqual(found.toSorted(), expected, `killed before append ${diesAt}`)
  }
})

test('the name of a half message is that of its first record', async (t) => {
  const at = await startOrders(t)
  const half = await prepare(at, 'a')
  await pass(at, HOUR_MS)
  const [entry] = at.store.due(Number.MAX_SAFE_INTEGER, 1)
  t.not(entry!.position, half.position)
  const copy = { ...half, position: entry!.position, queueOffset: queueOffset(0) }
  t.is(await codeOf(end(at, copy, 'commit')), 'ARGUMENT_INVALID')
})

test('what a message says of itself is kept through its commit, and what a broker says is not', async (t) => {
  const at = await startOrders(t)
  const said = { TAGS: 'paid', KEYS: 'k1', source: 'web', ключ: 'значение' }
  const plain = await prepare(at, 'plain', said)
  const odd = { __SHARDINGKEY: 'k', __transactionId__: 'mine', TRANSACTION_CHECK_TIMES: '9' }
  const other = await prepare(at, 'odd', { ...said, ...odd })
  for (const half of [plain, other]) await end(at, half, 'commit')
  const { records } = await at.broker.pull(pullRequest('orders'))
  const [first, second] = [...recordsOf(records)].map((record) => record.properties())
  const id = (body: string) => ({ UNIQ_KEY: `id-${body}`, __transactionId__: `id-${body}` })
  const own = { TRAN_MSG: 'true', PGROUP: GROUP, ...said, CLUSTER: 'DefaultCluster' }
  const brokers = { MSG_REGION: 'DefaultRegion', TRACE_ON: 'true' }
  t.deepEqual(Object.fromEntries(first!), { ...own, ...brokers, ...id('plain') })
  t.deepEqual(Object.fromEntries(second!), {
    ...{ ...own, ...brokers, ...id('odd') },
    __SHARDINGKEY: 'k',
  })
})

test('how a half message waited is no part of its message, also after it was copied', async (t) => {
  const at = await startOrders(t)
  const [whole, copied] = [await prepare(at, 'whole'), await prepare(at, 'copied')]
  await end(at, whole, 'commit')
  await pass(at, HOUR_MS)
  await end(at, copied, 'commit')
  const { records } = await at.broker.pull(pullRequest('orders'))
  const [first, second] = [...recordsOf(records)].map((record) => [...record.properties().keys()])
  t.deepEqual(second!.sort(), first!.sort())
})

/** Commits as soon as the append that the due time makes is under way. */
function commitDuringCheck(at: TestBroker, half: PublishReceipt): Promise<string> {
  return new Promise((resolve) => {
    at.faults.beforeAppend = ({ fired = [], putOff = [] }) => {
      if (fired.length + putOff.length === 0) return
      at.faults.beforeAppend = () => {}
      queueMicrotask(() => resolve(codeOf(end(at, half, 'commit'))))
    }
  })
}

test('a commit while its half message is copied to a later check holds once', async (t) => {
  const at = await startOrders(t)
  const half = await prepare(at, 'a')
  const committing = commitDuringCheck(at, half)
  await pass(at, TIMEOUT_MS)
  t.is(await committing, 'no error')
  t.is(await codeOf(end(at, half, 'rollback')), 'MESSAGE_NOT_FOUND')
  await end(at, half, 'commit')
  t.deepEqual(await bodiesIn(at, 'orders'), ['a'])
  t.is((await at.broker.status()).pendingDelayed, 0)
})

test('a commit while its half message is given up comes too late', async (t) => {
  const at = await startOrders(t, { transactionMsMax: 1 })
  const half = await prepare(at, 'a')
  const committing = commitDuringCheck(at, half)
  await pass(at, TIMEOUT_MS)
  t.deepEqual(await bodiesIn(at, GIVEN_UP), ['a'])
  t.is(await committing, 'MESSAGE_NOT_FOUND')
  t.deepEqual(await bodiesIn(at, 'orders'), [])
})

test('a commit of a delayed message may be repeated while that waits', async (t) => {
  const at = await startOrders(t)
  const half = await prepare(at, 'a', { TIMER_DELAY_MS: '10000' })
  await end(at, half, 'commit')
  await end(at, half, 'commit')
  t.is(await codeOf(end(at, half, 'rollback')), 'MESSAGE_NOT_FOUND')
  await pass(at, 9_999)
  await pass(at, 1)
  await end(at, half, 'commit')
  t.deepEqual(await bodiesIn(at, 'orders'), ['a'])
})

test('a half message whose id leaves no room for its end is refused', async (t) => {
  const at = await startOrders(t, { transactionMsMax: 1 })
  const most = 'x'.repeat(16_000)
  const half = await prepare(at, 'a', { UNIQ_KEY: most })
  await end(at, half, 'commit')
  await prepare(at, 'b', { UNIQ_KEY: most })
  const longer = halfMessage(at, 'c', { UNIQ_KEY: 'x'.repeat(20_000) })
  t.deepEqual(codesOf(await at.broker.publish([longer])), ['MESSAGE_TOO_LARGE'])
  await pass(at, TIMEOUT_MS)
  t.deepEqual(await bodiesIn(at, GIVEN_UP), ['b'])
})

test('a half message with two ids ends, and with it those whose ends came together', async (t) => {
  const at = await startOrders(t)
  const ids = `UNIQ_KEY\u0001a\u0002UNIQ_KEY\u0001${'b'.repeat(20_000)}\u0002`
  const said = `TRAN_MSG\u0001true\u0002PGROUP\u0001${GROUP}\u0002__transactionId__\u0001c\u0002${ids}`
  const odd = { ...halfMessage(at, 'odd'), properties: Buffer.from(said) }
  const halves = (await at.broker.publish([halfMessage(at, 'plain'), odd])) as PublishReceipt[]
  const ends = halves.map((half) => ({ half, group: GROUP, outcome: 'commit' as const }))
  t.deepEqual(await at.broker.transactions.endAll(ends), [undefined, undefined])
  t.deepEqual(await bodiesIn(at, 'orders'), ['plain', 'odd'])
})

test('an id with the separator of name and value keeps no half message from its end', async (t) => {
  const at = await startOrders(t, { transactionMsMax: HOUR_MS })
  const said = `TRAN_MSG\u0001true\u0002PGROUP\u0001${GROUP}\u0002UNIQ_KEY\u0001a\u0001b\u0002`
  const odd = { ...halfMessage(at, 'x'), properties: Buffer.from(said) }
  const [young, old, late] = (await at.broker.publish([odd, odd, odd])) as PublishReceipt[]
  await end(at, young!, 'commit')
  await register(at)
  watchChecks(at)
  await pass(at, TIMEOUT_MS)
  await end(at, old!, 'commit')
  await pass(at, 2 * HOUR_MS)
  t.is(await codeOf(end(at, late!, 'commit')), 'MESSAGE_NOT_FOUND')
  t.deepEqual(await bodiesIn(at, 'orders'), ['x', 'x'])
  t.deepEqual(await bodiesIn(at, GIVEN_UP), ['x'])
})
