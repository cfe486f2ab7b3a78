// Members of one group as unmodified clients are, in virtual time: Java's push consumers, orderly
// or not, with the delays of their rebalancing, locks and commits, and consumers per message.
import type { Strategy } from '../../../src/broker/consume/queue-share.ts'
import type { ClientRegistration, GroupMode } from '../../../src/model/client.ts'
import type { QueueName, Receipt } from '../../../src/model/message.ts'
import { type QueueOffset, queueOffset } from '../../../src/model/positions.ts'
import { RecordView, recordsOf } from '../../../src/model/record.ts'
import { EVERY_TAG } from '../../../src/model/tag-filter.ts'
import { pullRequest, queueOf, receiveRequest, type TestBroker } from '../broker.ts'
import type { Random } from '../random.ts'

const REBALANCE_MS = 20_000
const REBALANCE_AGAIN_MS = 1_000
const LOCK_MS = 20_000
const LOCK_USED_MS_MAX = 30_000
const COMMIT_MS = 5_000

export interface SharedGroup {
  readonly test: TestBroker
  readonly topic: string
  readonly group: string
  readonly queues: number
  readonly random: Random
  /** A consumer is done with a message. */
  readonly consumed: (body: string, member: string) => void
}

const registration = (
  { topic, group }: SharedGroup,
  clientId: string,
  mode: GroupMode,
): ClientRegistration => ({
  ...{ clientId, connectionId: clientId, protocol: 'remoting', address: '127.0.0.1:1' },
  ...{ language: 'JAVA', version: 1, producerGroups: [] },
  consumers: [
    {
      ...{ group, model: 'clustering', mode, consumeType: 'CONSUME_PASSIVELY' },
      subscriptions: [{ topic, filter: EVERY_TAG, version: 1 }],
      consumeFrom:
        mode === 'queue-assigned' ? 'CONSUME_FROM_FIRST_OFFSET' : 'CONSUME_FROM_LAST_OFFSET',
    },
  ],
})

export interface GroupMember {
  readonly id: string
  join(): Promise<void>
  /** What is due by the virtual clock is done. */
  act(): Promise<void>
  leave(): Promise<void>
  kill(): Promise<void>
}

/** A queue that a native member has, until it dropped it and its listener is done. */
interface Share {
  readonly queue: QueueName
  /** Of the next pull. */
  next: QueueOffset
  /** All below is consumed. */
  done: QueueOffset
  hasConsumed: boolean
  readonly read: { readonly body: string; readonly offset: QueueOffset }[]
  isPulling: boolean
  isDropped: boolean
  lockedMs: number
  /** Its listener works until then. */
  busyUntilMs: number
}

export class NativeMember implements GroupMember {
  readonly id: string
  readonly #of: SharedGroup
  readonly #isOrderly: boolean
  readonly #strategy: Strategy
  readonly #shares = new Map<number, Share>()
  readonly #end = new AbortController()
  #rebalanceMs = 0
  #lockMs = 0
  #commitMs: number
  #watch: Disposable | undefined

  constructor(of: SharedGroup, id: string, isOrderly: boolean, strategy: Strategy) {
    this.#of = of
    this.id = id
    this.#isOrderly = isOrderly
    this.#strategy = strategy
    this.#lockMs = this.#nowMs + 1_000
    this.#commitMs = this.#nowMs + 10_000
  }

  get #nowMs(): number {
    return this.#of.test.clock.monotonic()
  }

  get #isOver(): boolean {
    return this.#end.signal.aborted
  }

  async join(): Promise<void> {
    const { clients } = this.#of.test.broker
    await clients.register(registration(this.#of, this.id, 'queue-assigned'))
    this.#rebalanceMs = this.#nowMs + this.#of.random.int(300)
    this.#watch = clients.watch((group) => {
      if (group !== this.#of.group) return
      this.#rebalanceMs = Math.min(this.#rebalanceMs, this.#nowMs + this.#of.random.int(1_200))
    })
  }

  async act(): Promise<void> {
    const nowMs = this.#nowMs
    if (nowMs >= this.#lockMs) {
      this.#lockMs = nowMs + LOCK_MS
      if (this.#isOrderly)
        await this.#lock([...this.#shares.values()].filter((one) => !one.isDropped))
    }
    if (nowMs >= this.#rebalanceMs) {
      this.#rebalanceMs = nowMs + REBALANCE_MS
      if (!(await this.#rebalance())) this.#rebalanceMs = nowMs + REBALANCE_AGAIN_MS
    }
    if (nowMs >= this.#commitMs) {
      this.#commitMs = nowMs + COMMIT_MS
      for (const share of this.#shares.values()) await this.#commit(share)
    }
    for (const share of this.#shares.values()) {
      this.#consume(share)
      this.#pull(share)
    }
  }

  async leave(): Promise<void> {
    const shares = [...this.#shares.values()]
    this.#end.abort()
    this.#watch?.[Symbol.dispose]()
    for (const share of shares) this.#finish(share)
    const { queueLocks, clients } = this.#of.test.broker
    const queues = shares.map(({ queue }) => queue)
    if (this.#isOrderly) await queueLocks.unlock(this.#of.group, this.id, queues)
    for (const share of shares) await this.#commit(share)
    await clients.unregister(this.id)
  }

  async kill(): Promise<void> {
    this.#end.abort()
    this.#watch?.[Symbol.dispose]()
    await this.#of.test.broker.clients.unregister(this.id)
  }

  /** False: a lock was refused, or a queue could not be dropped yet. */
  async #rebalance(): Promise<boolean> {
    const { clients, cursors, queueLocks } = this.#of.test.broker
    const { group, topic, queues } = this.#of
    const ids = await clients.consumerIds(group, this.id)
    const isMine = (queueId: number): boolean =>
      this.#strategy(queueId, queues, ids.indexOf(this.id), ids.length)
    for (const [queueId, share] of this.#shares) {
      if (isMine(queueId) && !share.isDropped) continue
      share.isDropped = true
      await this.#commit(share)
      // The listener has it: the orderly consumer waits for half a second, and looks again later.
      if (this.#isOrderly && share.busyUntilMs > this.#nowMs + 500) continue
      if (this.#isOrderly) this.#finish(share)
      await this.#commit(share)
      if (this.#isOrderly) await queueLocks.unlock(group, this.id, [share.queue])
      this.#shares.delete(queueId)
    }
    let isWhole = true
    for (let queueId = 0; queueId < queues; queueId++) {
      if (!isMine(queueId) || this.#shares.has(queueId) || this.#isOver) continue
      const queue = queueOf(topic, queueId)
      if (this.#isOrderly && (await queueLocks.lock(group, this.id, [queue])).length === 0) {
        isWhole = false
        continue
      }
      const next = (await cursors.committed(group, queue)) ?? queueOffset(0)
      const work = { read: [], isPulling: false, isDropped: false, hasConsumed: false }
      const share = { queue, next, done: next, lockedMs: this.#nowMs, busyUntilMs: 0, ...work }
      this.#shares.set(queueId, share)
    }
    return isWhole
  }

  async #lock(shares: readonly Share[]): Promise<void> {
    const { broker } = this.#of.test
    if (shares.length === 0) return
    const queues = shares.map(({ queue }) => queue)
    const locked = await broker.queueLocks.lock(this.#of.group, this.id, queues)
    for (const share of shares) {
      const isHeld = locked.some(({ queueId }) => queueId === share.queue.queueId)
      share.lockedMs = isHeld ? this.#nowMs : Number.NEGATIVE_INFINITY
    }
  }

  async #commit({ queue, done, hasConsumed }: Share): Promise<void> {
    if (!hasConsumed) return
    await this.#of.test.broker.cursors.commit(this.#of.group, queue, done, this.id)
  }

  #mayUse({ lockedMs }: Share): boolean {
    return !this.#isOrderly || this.#nowMs - lockedMs < LOCK_USED_MS_MAX
  }

  #consume(share: Share): void {
    if (share.busyUntilMs > this.#nowMs) return
    this.#finish(share)
    if (share.read.length === 0 || share.isDropped || !this.#mayUse(share)) return
    const { random } = this.#of
    share.busyUntilMs = this.#nowMs + (random.chance(0.02) ? random.int(4_000) : random.int(150))
  }

  /** The listener returns. */
  #finish(share: Share): void {
    if (share.busyUntilMs === 0) return
    share.busyUntilMs = 0
    const message = share.read.shift()
    if (message === undefined) return
    this.#of.consumed(message.body, this.id)
    share.done = queueOffset(message.offset + 1)
    share.hasConsumed = true
  }

  #pull(share: Share): void {
    if (share.isPulling || share.isDropped || share.read.length > 40 || !this.#mayUse(share)) return
    share.isPulling = true
    const { topic, group, test } = this.#of
    const { queueId } = share.queue
    const shape = { queueId, offset: share.next, group, reader: this, maxMessages: 32 }
    const request = { ...pullRequest(topic, shape), member: this.id, waitMs: 15_000 }
    test.broker.pull({ ...request, signal: this.#end.signal }).then(
      ({ records, nextOffset }) => {
        share.isPulling = false
        if (share.isDropped) return
        for (const record of recordsOf(records)) {
          share.read.push({ body: record.body.toString(), offset: queueOffset(record.queueOffset) })
        }
        share.next = nextOffset
        if (share.read.length > 0) return
        share.done = nextOffset
        share.hasConsumed = true
      },
      () => {
        share.isPulling = false
      },
    )
  }
}

/** Registered as MQTT's shared subscriptions are: it begins with what comes. */
export class PerMessageMember implements GroupMember {
  readonly id: string
  readonly #of: SharedGroup
  readonly #end = new AbortController()
  readonly #has: { readonly body: string; readonly receipt: Receipt; readonly doneMs: number }[] =
    []
  #isReceiving = false

  constructor(of: SharedGroup, id: string) {
    this.#of = of
    this.id = id
  }

  async join(): Promise<void> {
    const { clients, cursors } = this.#of.test.broker
    const { group, topic, queues } = this.#of
    await clients.register(registration(this.#of, this.id, 'per-message'))
    for (let queueId = 0; queueId < queues; queueId++) {
      const queue = queueOf(topic, queueId)
      if ((await cursors.committed(group, queue)) !== undefined) continue
      await cursors.commit(group, queue, (await cursors.range(queue)).maxOffset)
    }
  }

  async act(): Promise<void> {
    const { test, random, topic, group } = this.#of
    const nowMs = test.clock.monotonic()
    while (this.#has[0] !== undefined && this.#has[0].doneMs <= nowMs) {
      const { body, receipt } = this.#has.shift()!
      const [refused] = await test.broker.ack([receipt])
      if (refused === null) this.#of.consumed(body, this.id)
    }
    if (this.#isReceiving || this.#has.length > 20) return
    this.#isReceiving = true
    const shape = { maxMessages: 16, waitMs: 5_000, startAt: 'last', memberId: this.id }
    const request = { ...receiveRequest(topic, group, shape as object), signal: this.#end.signal }
    test.broker.receive(request).then(
      (messages) => {
        this.#isReceiving = false
        for (const { record, receipt } of messages) {
          const body = new RecordView(record).body.toString()
          this.#has.push({ body, receipt, doneMs: test.clock.monotonic() + random.int(300) })
        }
      },
      () => {
        this.#isReceiving = false
      },
    )
  }

  async leave(): Promise<void> {
    this.#end.abort()
    const { broker } = this.#of.test
    await broker.abandon(this.#has.map(({ receipt }) => receipt))
    await broker.clients.unregister(this.id)
  }

  kill(): Promise<void> {
    return this.leave()
  }
}
