import test, { type ExecutionContext } from 'ava'
import fc from 'fast-check'
import { BrokerError } from '../../src/errors.ts'
import { groupDefaults } from '../../src/model/group.ts'
import {
  bodiesOf,
  drain,
  newMessage,
  pullRequest,
  receiveRequest,
  startBroker,
  type TestBroker,
  topicOf,
} from '../support/broker.ts'
import { Random } from '../support/random.ts'

const DAY_MS = 86_400_000
const GROUP = 'billing'

/** A producer and a consumer at work, and what they were told. */
class Work {
  readonly #test: TestBroker
  readonly #random: Random
  readonly published = new Set<string>()
  readonly offered = new Set<string>()
  readonly acked = new Set<string>()
  readonly refused = new Map<string, number>()
  readonly dead = new Set<string>()
  isOver = false

  constructor(test: TestBroker, random: Random) {
    this.#test = test
    this.#random = random
  }

  async produce(): Promise<void> {
    for (let i = 0; !this.isOver; i += 4) {
      const ids = [i, i + 1, i + 2, i + 3].map((n) => `m${n}`)
      const messages = ids.map((body) => {
        const properties = this.#random.chance(0.3) ? { TIMER_DELAY_MS: '20' } : {}
        return newMessage('orders', { queueId: this.#random.int(3), body, properties })
      })
      for (const id of ids) this.offered.add(id)
      const results = await this.#test.broker.publish(messages)
      if (this.isOver) return
      for (const [at, result] of results.entries()) {
        if (!(result instanceof BrokerError)) this.published.add(ids[at]!)
      }
      this.#test.clock.advance(5)
    }
  }

  async consume(): Promise<void> {
    const { broker } = this.#test
    while (!this.isOver) {
      const request = receiveRequest('orders', GROUP, { maxMessages: 5, waitMs: 1 })
      const receiving = broker.receive(request)
      this.#test.clock.advance(1)
      for (const message of await receiving) {
        const [id] = bodiesOf([message]) as [string]
        const { receipt, attempt } = message
        const what = this.#random.int(6)
        if (what <= 2) {
          // Durable soon, so after a crash it may come again.
          this.acked.add(id)
          await broker.ack([receipt])
        } else if (what === 3) {
          void broker.nack([receipt], this.#random.pick([0, 10, 1000])).then(([result]) => {
            if (result === null && !this.isOver) this.refused.set(id, attempt)
          })
        } else if (what === 4) {
          void broker.deadLetter([receipt], 'the test says so').then(([result]) => {
            if (result === null && !this.isOver) this.dead.add(id)
          })
        } else await broker.release([receipt])
      }
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
}

/** Everything the group still gets, each acknowledged at once. */
async function consumeAll({ broker, clock }: TestBroker) {
  const got = new Map<string, number[]>()
  for (let empty = 0; empty < 2; ) {
    const request = { waitMs: DAY_MS, invisibleMs: 10 * DAY_MS }
    const receiving = broker.receive(receiveRequest('orders', GROUP, request))
    await clock.advanceAsync(DAY_MS)
    const received = await receiving
    for (const message of received) {
      const [id] = bodiesOf([message]) as [string]
      got.set(id, [...(got.get(id) ?? []), message.attempt])
    }
    await broker.ack(received.map(({ receipt }) => receipt))
    const { pendingDelayed } = await broker.status()
    empty = received.length === 0 && pendingDelayed === 0 ? empty + 1 : 0
  }
  return got
}

async function judge(t: ExecutionContext, work: Work, after: TestBroker): Promise<void> {
  const got = await consumeAll(after)
  const dead = bodiesOf(
    await after.broker.pull(pullRequest('%DLQ%billing', { maxMessages: 100_000 })),
  )
  const deadOnce = new Set(dead)
  t.is(deadOnce.size, dead.length, 'no dead letter is there twice')
  for (const [id, attempts] of got) {
    t.true(work.offered.has(id), `${id} was sent`)
    t.is(attempts.length, 1, `${id} is not delivered twice`)
    t.false(deadOnce.has(id), `${id} is not both delivered and dead`)
  }
  for (const id of work.published) {
    t.true(got.has(id) || deadOnce.has(id) || work.acked.has(id), `${id} is not lost`)
  }
  for (const id of work.dead) t.true(deadOnce.has(id), `${id} stays dead`)
  for (const [id, attempt] of work.refused) {
    // It may have been refused or given up again since.
    if (work.acked.has(id) || deadOnce.has(id)) continue
    t.true((got.get(id)?.[0] ?? 0) > attempt, `${id} keeps its failed attempts`)
  }
}

test('killed at any moment, the broker loses and doubles nothing that it confirmed', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.nat(), fc.integer({ min: 1, max: 400 }), async (seed, turns) => {
      const before = await startBroker(t)
      await before.broker.topics.put(topicOf('orders', 3))
      await before.broker.groups.put({ ...groupDefaults(GROUP), retryTimesMax: 1000 })
      await before.broker.topics.put(topicOf('%DLQ%billing', 1))
      await drain(before)
      const work = new Work(before, new Random(seed))
      const running = [work.produce(), work.consume(), work.consume()]
      for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve))
      work.isOver = true
      const after = await before.crash()
      before.clock.advance(1000)
      await before.close()
      await Promise.allSettled(running)
      await judge(t, work, after)
      await after.close()
    }),
    { numRuns: 12 },
  )
})
