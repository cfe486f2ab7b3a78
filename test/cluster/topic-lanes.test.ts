// The lanes of a topic before brokers that fail: what is taken, in which order, and what is not.
import test, { type ExecutionContext } from 'ava'
import type { ParcelItem } from '../../src/cluster/publish/parcel.ts'
import { TopicLanes, type TopicLanesParts } from '../../src/cluster/publish/topic-lanes.ts'
import { BrokerError } from '../../src/errors.ts'
import { NO_HOST } from '../../src/model/host.ts'
import { ANY_QUEUE, type PublishReceipt, type PublishResult } from '../../src/model/message.ts'
import { logPosition, queueOffset } from '../../src/model/positions.ts'
import type { QueueRef } from '../../src/remoting/requests/queue.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { freshSeed, Random } from '../support/random.ts'

const TIMEOUT_MS = 10_000
const EMPTY = Buffer.alloc(0)
const UNREACHABLE = new BrokerError('UNREACHABLE', 'nothing listens there')
const BUSY = new BrokerError('BUSY', 'not now')

type Send = (queue: QueueRef, bodies: readonly string[]) => Promise<void>

interface Given {
  readonly key?: string | undefined
  readonly createTopic?: boolean
}

const queuesOf = (...brokerNames: string[]): QueueRef[] =>
  brokerNames.flatMap((brokerName) =>
    [0, 1].map((queueId) => ({ topic: 'orders', brokerName, queueId })),
  )

const turns = async (count = 10): Promise<void> => {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve))
}

function opened(
  send: Send,
  route: TopicLanesParts['route'],
  asked: (items: readonly ParcelItem[]) => void = () => {},
) {
  const clock = new FakeClock()
  const results = new Map<string, PublishResult[]>()
  const lanes = new TopicLanes({
    ...{ clock, topic: 'orders', route, invalidate: () => {} },
    async send(queue, items) {
      asked(items)
      await send(
        queue,
        items.map(({ message }) => message.body.toString()),
      )
      return items.map(() => receiptOf(queue))
    },
  })
  const add = (body: string, { key, createTopic = true }: Given = {}): void =>
    lanes.add({
      items: [itemOf(body, key, createTopic)],
      ...{ bytes: 100, isAlone: false, deadlineMs: clock.monotonic() + TIMEOUT_MS },
      settle: ([result]) => results.set(body, [...(results.get(body) ?? []), result!]),
    })
  const pass = async (ms: number, stepMs = 50): Promise<void> => {
    for (let passed = 0; passed < ms; passed += stepMs) {
      clock.advance(stepMs)
      await turns()
    }
  }
  return { clock, lanes, results, add, pass }
}

const receiptOf = ({ brokerName, queueId }: QueueRef): PublishReceipt => ({
  ...{ brokerName, queueId, queueOffset: queueOffset(0) },
  ...{ position: logPosition(0), storeHost: NO_HOST },
})

const itemOf = (body: string, orderingKey: string | undefined, createTopic: boolean): ParcelItem =>
  ({
    message: {
      ...{ topic: 'orders', queueId: ANY_QUEUE, flag: 0, sysFlag: 0, reconsumeTimes: 0 },
      ...{ bornTimestamp: 0, bornHost: NO_HOST, properties: EMPTY, createTopic },
      ...(orderingKey !== undefined && { orderingKey }),
      body: Buffer.from(body),
    },
    body: Buffer.from(body),
    properties: EMPTY,
    isAlone: false,
    isHalf: false,
  }) as ParcelItem

const codeOf = (results: PublishResult[] | undefined): unknown =>
  results?.map((result) => (result instanceof BrokerError ? result.code : 'stored'))

test('brokers that refuse at once are not asked over and over', async (t) => {
  let asked = 0
  const { lanes, results, add, pass } = opened(
    async () => {
      // What goes on without end would leave the loop no turn.
      if (++asked < 10_000) throw UNREACHABLE
    },
    async () => queuesOf('a', 'b'),
  )
  add('one')
  lanes.flush()
  await pass(TIMEOUT_MS + 500)
  t.deepEqual(codeOf(results.get('one')), ['UNREACHABLE'])
  t.true(asked <= TIMEOUT_MS / 50 + 10, `${asked} requests`)
  t.true(lanes.isIdle)
})

test('a message says that it was sent again after an attempt that may have stored it', async (t) => {
  const requests: string[][] = []
  const failures = [UNREACHABLE, BUSY]
  const { lanes, results, add, pass } = opened(
    async () => {
      const failure = failures.shift()
      if (failure !== undefined) throw failure
    },
    async () => queuesOf('a').slice(0, 1),
    (items) => requests.push(items.map(({ properties }) => properties.toString())),
  )
  add('one', { key: 'k' })
  lanes.flush()
  await turns()
  add('two', { key: 'k' })
  lanes.flush()
  await pass(1_000)
  t.deepEqual(codeOf(results.get('two')), ['stored'])
  const marked = 'TRIVET_RESENT\u00011\u0002'
  t.deepEqual(requests, [[''], [marked], [marked], ['']])
})

test('what is bound to a broker that has gone goes to another, though nothing comes behind it', async (t) => {
  let names = ['a', 'b']
  const { lanes, results, add, pass } = opened(
    async ({ brokerName }) => {
      if (brokerName === 'a') throw UNREACHABLE
    },
    async () => queuesOf(...names),
  )
  const keys = ['k0', 'k1', 'k2', 'k3', 'k4', 'k5', 'k6', 'k7']
  for (const key of keys) add(key, { key })
  lanes.flush()
  await pass(100)
  t.true(results.size < keys.length)
  names = ['b']
  await pass(1_000)
  for (const key of keys) t.deepEqual(codeOf(results.get(key)), ['stored'], key)
})

test('a topic without a queue to write is waited for, and refused in time', async (t) => {
  const { lanes, results, add, pass } = opened(
    async () => t.fail('there is no queue'),
    async () => [],
  )
  add('loose', { createTopic: false })
  add('bound', { key: 'k', createTopic: false })
  lanes.flush()
  await pass(1_000)
  t.is(results.size, 0)
  await pass(TIMEOUT_MS)
  t.deepEqual(codeOf(results.get('loose')), ['NO_ROUTE'])
  t.deepEqual(codeOf(results.get('bound')), ['NO_ROUTE'])
  t.true(lanes.isIdle)
})

test('what has no key does not wait for one whose broker is away', async (t) => {
  const { lanes, results, add, pass } = opened(
    async ({ brokerName }) => {
      if (brokerName === 'a') throw UNREACHABLE
    },
    async () => queuesOf('a', 'b'),
  )
  for (let n = 0; n < 8; n++) add(`bound ${n}`, { key: `k${n}` })
  lanes.flush()
  await pass(1_000)
  const waiting = [...Array(8).keys()].filter((n) => !results.has(`bound ${n}`))
  t.true(waiting.length > 0)
  for (let n = 0; n < 5; n++) {
    add(`loose ${n}`)
    lanes.flush()
    await pass(200)
    t.deepEqual(codeOf(results.get(`loose ${n}`)), ['stored'])
  }
})

test('what has no key goes past a broker that is full, read-only or busy', async (t) => {
  for (const code of ['READ_ONLY', 'BUSY'] as const) {
    const { lanes, results, add, pass } = opened(
      async ({ brokerName }) => {
        if (brokerName === 'a') throw new BrokerError(code, 'not now')
      },
      async () => queuesOf('a', 'b'),
    )
    for (let n = 0; n < 8; n++) {
      add(`${n}`)
      lanes.flush()
      await pass(100)
      t.deepEqual(codeOf(results.get(`${n}`)), ['stored'])
    }
  }
})

test('a broker that comes to a route whose only one is read-only takes what waits', async (t) => {
  let names = ['a']
  let routes = 0
  const { lanes, results, add, pass } = opened(
    async ({ brokerName }) => {
      if (brokerName === 'a') throw new BrokerError('READ_ONLY', 'not now')
    },
    async () => {
      routes++
      return queuesOf(...names)
    },
  )
  add('loose')
  add('bound', { key: 'k' })
  lanes.flush()
  await pass(500)
  t.deepEqual([routes, results.size], [1, 0])
  names = ['b']
  await pass(3_000)
  for (const body of ['loose', 'bound']) t.deepEqual(codeOf(results.get(body)), ['stored'], body)
})

test('what waits behind others of its queue is refused in time too', async (t) => {
  const { clock, lanes, results, add, pass } = opened(
    async () => {
      await new Promise<void>((resolve) => clock.after(3_000, resolve))
      throw new BrokerError('TIMED_OUT', 'it does not answer')
    },
    async () => queuesOf('a'),
  )
  for (let n = 0; n < 1_000; n++) add(`${n}`, { key: 'k' })
  lanes.flush()
  await pass(TIMEOUT_MS + 4_500)
  t.is(results.size, 1_000)
  t.true(lanes.isIdle)
})

test('a queue that is no more is looked for again by what comes next', async (t) => {
  let names = ['a', 'b']
  const { lanes, results, add, pass } = opened(
    async ({ brokerName }) => {
      if (!names.includes(brokerName)) throw new BrokerError('QUEUE_NOT_FOUND', 'not here')
    },
    async () => queuesOf(...names),
  )
  for (let n = 0; n < 8; n++) add(`first ${n}`, { key: `k${n}` })
  lanes.flush()
  await pass(100)
  names = ['b']
  for (const round of ['second', 'third']) {
    for (let n = 0; n < 8; n++) add(`${round} ${n}`, { key: `k${n}` })
    lanes.flush()
    await pass(200)
  }
  for (let n = 0; n < 8; n++) t.deepEqual(codeOf(results.get(`third ${n}`)), ['stored'])
})

test('a queue whose broker is back is written to at once', async (t) => {
  let names = ['a']
  const { lanes, results, pass } = opened(
    async () => {},
    async () => queuesOf(...names),
  )
  const add = (body: string): void => {
    const item = itemOf(body, undefined, false)
    const message = { ...item.message, brokerName: 'b', queueId: 0 }
    lanes.add({
      ...{ items: [{ ...item, message }], bytes: 100, isAlone: false, deadlineMs: 1e9 },
      settle: ([result]) => results.set(body, [result!]),
    })
    lanes.flush()
  }
  add('away')
  await pass(2_000)
  t.deepEqual(codeOf(results.get('away')), ['QUEUE_NOT_FOUND'])
  names = ['a', 'b']
  add('back')
  await pass(100)
  t.deepEqual(codeOf(results.get('back')), ['stored'])
})

const KEYS = ['k0', 'k1', 'k2', 'k3', 'k4']

/** The messages of a key are named `key/n`, n rising. */
function isInOrder(stored: readonly string[]): boolean {
  const newest = new Map<string, number>()
  const seen = new Set<string>()
  return stored.every((body) => {
    const [key, n] = body.split('/') as [string, string]
    const isAgain = seen.has(body)
    seen.add(body)
    // What is stored again after an answer was lost came in its order the first time.
    if (!isAgain && Number(n) < (newest.get(key) ?? -1)) return false
    newest.set(key, Math.max(newest.get(key) ?? -1, Number(n)))
    return true
  })
}

async function simulate(t: ExecutionContext, seed: number): Promise<void> {
  const random = new Random(seed)
  const stored: string[] = []
  let trouble = 0.4
  let names = ['a', 'b']
  const { clock, lanes, results, add, pass } = opened(
    async (queue, bodies) => {
      const isFailing = random.chance(trouble)
      await new Promise<void>((resolve) => clock.after(random.int(300), resolve))
      if (!names.includes(queue.brokerName)) throw UNREACHABLE
      const isPoisoned = bodies.some((body) => body.endsWith('poison'))
      if (isPoisoned) throw new BrokerError('MESSAGE_INVALID', 'one of them')
      // Its answer may be lost.
      if (!isFailing || random.chance(0.3)) stored.push(...bodies)
      if (isFailing) throw random.pick([UNREACHABLE, new BrokerError('BUSY', 'too much')])
    },
    async () => {
      if (random.chance(trouble / 2)) throw UNREACHABLE
      return queuesOf(...names)
    },
  )
  const added: string[] = []
  const numbers = new Map<string, number>()
  for (let step = 0; step < 120; step++) {
    for (let some = random.int(6); some > 0; some--) {
      const key = random.chance(0.7) ? random.pick(KEYS) : undefined
      const n = numbers.get(key ?? 'loose') ?? 0
      numbers.set(key ?? 'loose', n + 1)
      const body = `${key ?? 'loose'}/${n}${random.chance(0.03) ? '/poison' : ''}`
      added.push(body)
      add(body, { key })
    }
    lanes.flush()
    if (random.chance(0.1)) names = random.pick([['a', 'b'], ['b'], ['a', 'b', 'c'], ['a']])
    await pass(random.int(4) * 50)
  }
  trouble = 0
  await pass(2 * TIMEOUT_MS, 100)
  const unsettled = added.filter((body) => !results.has(body))
  t.deepEqual(unsettled, [], 'each is settled')
  for (const [body, all] of results) {
    t.is(all.length, 1, `${body} is settled once`)
    if (!(all[0] instanceof BrokerError)) t.true(stored.includes(body), `${body} is stored`)
  }
  const keyed = stored.filter((body) => !body.startsWith('loose'))
  t.true(isInOrder(keyed), `the order of keys: ${keyed.join(' ')}`)
  t.true(lanes.isIdle)
}

test('with brokers that fail and come and go each is settled once, those of a key in order', async (t) => {
  const seed = freshSeed(t)
  for (let run = 0; run < 12; run++) await simulate(t, seed + run)
})
