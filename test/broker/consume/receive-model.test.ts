import test, { type ExecutionContext } from 'ava'
import fc from 'fast-check'
import { groupDefaults } from '../../../src/model/group.ts'
import type { Receipt, SettleResult } from '../../../src/model/message.ts'
import {
  bodiesOf,
  codesOf,
  drain,
  newMessage,
  pullRequest,
  queueOf,
  receiveRequest,
  startBroker,
  type TestBroker,
  topicOf,
} from '../../support/broker.ts'
import { GroupModel } from '../../support/simulation/group-model.ts'

const QUEUES = 3
const RETRY_TIMES_MAX = 2
const INVISIBLE_MS = 60_000

/** `pick` chooses among the messages in hand. */
type Step =
  | { do: 'publish'; queueIds: number[] }
  | { do: 'receive'; max: number; memberId: string }
  | { do: 'ack' | 'deadLetter' | 'extend'; pick: number; count: number }
  | { do: 'nack'; pick: number; count: number; delayMs: number | undefined }
  | { do: 'release' | 'abandon'; pick: number; count: number }
  | { do: 'advance'; byMs: number }
  | { do: 'full disk'; pick: number; count: number }
  | { do: 'reopen' | 'crash' | 'slow disk' }

const pick = { pick: fc.nat(1000), count: fc.integer({ min: 1, max: 6 }) }
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('publish' as const),
      queueIds: fc.array(fc.nat(QUEUES - 1), { minLength: 1, maxLength: 8 }),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('receive' as const),
      max: fc.integer({ min: 1, max: 10 }),
      memberId: fc.constantFrom('one', 'two'),
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('ack' as const), ...pick }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('nack' as const),
      delayMs: fc.constantFrom(undefined, 0, 1000, 15_000),
      ...pick,
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constantFrom('release' as const, 'abandon' as const),
      ...pick,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constantFrom('deadLetter' as const, 'extend' as const, 'full disk' as const),
      ...pick,
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('advance' as const),
      byMs: fc.constantFrom(1, 999, 10_000, 30_000, 60_000),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constantFrom('reopen', 'crash', 'slow disk') }),
  },
) as fc.Arbitrary<Step>

class Run {
  readonly #t: ExecutionContext
  readonly #model = new GroupModel(RETRY_TIMES_MAX)
  readonly #held = new Map<string, Receipt>()
  readonly #settled: Receipt[] = []
  #test: TestBroker
  #published = 0

  constructor(t: ExecutionContext, test: TestBroker) {
    this.#t = t
    this.#test = test
  }

  async start(): Promise<void> {
    await this.#test.broker.topics.put(topicOf('orders', QUEUES))
    const group = { ...groupDefaults('billing'), retryTimesMax: RETRY_TIMES_MAX }
    await this.#test.broker.groups.put(group)
  }

  async step(step: Step): Promise<void> {
    switch (step.do) {
      case 'publish':
        return this.#publish(step.queueIds)
      case 'receive':
        return this.#receive(step.max, step.memberId)
      case 'advance':
        return this.#advance(step.byMs)
      case 'full disk':
        return this.#fullDisk(step)
      case 'reopen':
      case 'crash':
        return this.#restart(step.do)
      case 'slow disk':
        this.#test.faults.readsAreSlow = !this.#test.faults.readsAreSlow
        return
      default:
        return this.#settle(step)
    }
  }

  /** Whatever is left can still be consumed, and no message is lost or doubled. */
  async finish(): Promise<void> {
    for (;;) {
      await this.#advance(7_200_000)
      const left = ['available', 'inFlight', 'delayed'] as const
      if (left.every((state) => this.#model.idsIn(state).length === 0)) break
      await this.#receive(100, 'one')
      await this.#settle({ do: 'ack', pick: 0, count: 1000 })
    }
    const dead = await this.#test.broker.pull(pullRequest('%DLQ%billing', { maxMessages: 10_000 }))
    this.#t.deepEqual(bodiesOf(dead).sort(), this.#model.idsIn('dead').sort())
    const stale = this.#settled.slice(-50)
    const results = await this.#test.broker.ack(stale)
    this.#t.true(results.every((result) => result?.code === 'RECEIPT_EXPIRED'))
  }

  async #publish(queueIds: readonly number[]): Promise<void> {
    const messages = queueIds.map((queueId) => {
      const body = `m${this.#published++}`
      this.#model.publish(body, queueId)
      return newMessage('orders', { queueId, body })
    })
    await this.#test.broker.publish(messages)
  }

  async #receive(max: number, memberId: string): Promise<void> {
    const received = []
    // One receive may answer with less than there is when it loads from the disk.
    for (;;) {
      const left = max - received.length
      const request = { maxMessages: left, invisibleMs: INVISIBLE_MS, memberId }
      const more = await this.#test.broker.receive(receiveRequest('orders', 'billing', request))
      received.push(...more)
      if (more.length === 0 || received.length === max) break
    }
    const ids = bodiesOf(received)
    const attempts = received.map(({ attempt }) => attempt)
    const request = { maxMessages: max, invisibleMs: INVISIBLE_MS, memberId }
    this.#t.deepEqual(this.#model.received(ids, attempts, request), [])
    for (const [i, id] of ids.entries()) this.#held.set(id, received[i]!.receipt)
  }

  /** Nothing goes in, and every holder of a message still holds it. */
  async #fullDisk(step: { pick: number; count: number }): Promise<void> {
    const { broker, faults } = this.#test
    faults.isReadOnly = true
    allReadOnly(this.#t, await broker.publish([newMessage('orders', { body: 'never' })]))
    const { ids, receipts } = this.#choose(step)
    allReadOnly(this.#t, await broker.nack(receipts, 1000))
    allReadOnly(this.#t, await broker.deadLetter(receipts, 'never'))
    this.#model.goOn(ids)
    faults.isReadOnly = false
  }

  #choose({ pick, count }: { pick: number; count: number }): {
    ids: string[]
    receipts: Receipt[]
  } {
    const inFlight = this.#model.idsIn('inFlight')
    const start = inFlight.length === 0 ? 0 : pick % inFlight.length
    const ids = inFlight.slice(start, start + count)
    return { ids, receipts: ids.map((id) => this.#held.get(id)!) }
  }

  async #settle(
    step: Exclude<Extract<Step, { pick: number }>, { do: 'full disk' }>,
  ): Promise<void> {
    const { broker } = this.#test
    const { ids: chosen, receipts } = this.#choose(step)
    let results: readonly SettleResult[]
    if (step.do === 'ack') {
      results = await broker.ack(receipts)
      for (const id of chosen) this.#model.ack(id)
    } else if (step.do === 'nack') {
      results = await broker.nack(receipts, step.delayMs)
      for (const id of chosen) this.#model.nack(id, step.delayMs)
    } else if (step.do === 'release') {
      results = await broker.release(receipts)
      for (const id of chosen) this.#model.release(id)
    } else if (step.do === 'abandon') {
      results = await broker.abandon(receipts)
      this.#model.abandon(chosen)
    } else if (step.do === 'deadLetter') {
      results = await broker.deadLetter(receipts, 'the test says so')
      for (const id of chosen) this.#model.deadLetter(id)
    } else {
      results = await broker.extend(receipts, 90_000)
      for (const id of chosen) this.#model.extend(id, 90_000)
    }
    this.#t.true(results.every((result) => result === null))
    if (step.do !== 'extend') this.#settled.push(...receipts)
  }

  async #advance(byMs: number): Promise<void> {
    this.#model.advance(byMs)
    await this.#test.clock.advanceAsync(byMs)
    await this.#rest()
  }

  /** Copies that are due, and dead letters of messages whose time was over, get written. */
  async #rest(): Promise<void> {
    const { broker, clock } = this.#test
    for (;;) {
      await drain(this.#test)
      const { pendingDelayed } = await broker.status()
      const dead = await broker.topics.get('%DLQ%billing')
      const range = dead && (await broker.cursors.range(queueOf('%DLQ%billing')))
      const isDone =
        pendingDelayed === this.#model.idsIn('delayed').length &&
        ((range?.maxOffset ?? 0) as number) === this.#model.idsIn('dead').length
      if (isDone) return
      await clock.advanceAsync(0)
    }
  }

  async #restart(how: 'reopen' | 'crash'): Promise<void> {
    if (how === 'reopen') this.#test = await this.#test.reopen()
    else {
      await this.#advance(200)
      this.#test = await this.#test.crash()
    }
    this.#settled.push(...this.#model.idsIn('inFlight').map((id) => this.#held.get(id)!))
    this.#model.restart()
  }
}

const allReadOnly = (t: ExecutionContext, results: readonly unknown[]): void => {
  for (const code of codesOf(results)) t.is(code, 'READ_ONLY')
}

test('any history of receiving and settling ends as the model says', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 60 }), async (steps) => {
      const broker = await startBroker(t)
      const run = new Run(t, broker)
      await run.start()
      for (const each of steps) await run.step(each)
      await run.finish()
    }),
    { numRuns: 30 },
  )
})
