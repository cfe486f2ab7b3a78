// Reads one queue that is assigned to this member: pulls in a loop while there is room, keeps
// account of what is unsettled, and says how far the group may commit, which its pulls carry. In
// order: one message at a time, a failed one again in its place.
import { type Clock, sleep, type Timer } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import { delayLevelFor } from '../../model/delay-levels.ts'
import { EXPRESSION_TYPE, type MessageFilter, selects } from '../../model/message-filter.ts'
import { type RecordView, recordsOf } from '../../model/record.ts'
import type { RemotingConnection } from '../../remoting/connection.ts'
import { PULL_FLAG } from '../../remoting/requests/pull.ts'
import type { QueueRef } from '../../remoting/requests/queue.ts'
import { abortController } from '../calls/abort.ts'
import { BackOff } from '../calls/back-off.ts'
import { type PullAnswer, pull, sendBack } from '../calls/calls.ts'
import { Delivery, type Settlement } from './delivery.ts'
import type { MemberOptions } from './member-options.ts'
import { Progress } from './progress.ts'
import { QueueWindow } from './queue-window.ts'

/** RocketMQ's clients: hold a poll this long at the broker, give up on the answer after that. */
const SUSPEND_MS = 15_000
const PULL_TIMEOUT_MS = 30_000
const BATCH_MAX = 32
const PULL_FLAGS = PULL_FLAG.suspend | PULL_FLAG.subscription | PULL_FLAG.many
/**
 * Offsets between the oldest unsettled message and the newest read: what a crash would repeat at
 * most.
 */
const SPAN_MAX = 2000
const IDLE_MS = 20
/** A broker that says so often that its queue ends before what was read of it is believed. */
const DENIED_MAX = 4
const FIRST_PAUSE_MS = 200
const LONGEST_PAUSE_MS = 10_000
/** Before a failed message of an ordered queue comes again, unless its consumer says otherwise. */
const ORDERED_RETRY_MS = 1000

/** The group member, as its readers need it. */
export interface ReaderOwner {
  readonly options: MemberOptions
  readonly clock: Clock
  /** Unsettled messages that one queue may hold now. */
  readonly roomPerQueue: number
  /** Whether the member holds as many bytes as it may. */
  readonly isFull: boolean
  connection(queue: QueueRef, signal?: AbortSignal): Promise<RemotingConnection>
  deliver(delivery: Delivery): void
  /** Bytes of unsettled messages, risen or fallen. */
  held(bytes: number): void
  /** @param retryMs when it is tried again */
  failed(error: BrokerError, queue?: QueueRef, retryMs?: number): void
  /** An operator moved the group: the queue is to be begun anew. */
  moved(): void
}

/** A message that is read and not settled. */
interface Held {
  readonly record: RecordView
  /** Failed deliveries by this client. */
  retries: number
  /** The one delivery that may settle it. */
  delivery: Delivery | undefined
}

export class QueueReader implements Settlement {
  readonly queue: QueueRef
  readonly progress = new Progress()
  readonly #filter: MessageFilter
  readonly #owner: ReaderOwner
  readonly #stop = abortController()
  readonly #held = new Map<number, Held>()
  readonly #timers = new Set<Timer>()
  /** In order: offsets read and not yet delivered. */
  readonly #backlog: number[] = []
  #window: QueueWindow
  /** In order: the offset that must be settled before the next goes out. */
  #current: number | undefined
  #wake: (() => void) | undefined
  #isRetired = false
  /** Answers in a row that say so. */
  #denied = 0
  #movedTo: number | undefined
  #done: Promise<void> = Promise.resolve()

  constructor(queue: QueueRef, filter: MessageFilter, startOffset: number, owner: ReaderOwner) {
    this.queue = queue
    this.#filter = filter
    this.#owner = owner
    this.#window = new QueueWindow(startOffset)
  }

  get committable(): number {
    return this.#movedTo ?? this.#window.committable
  }

  get unsettled(): number {
    return this.#held.size
  }

  /** In order: a message is with the consumer. */
  get isBusy(): boolean {
    return this.#current !== undefined
  }

  start(): void {
    this.#done = this.#run()
  }

  /**
   * In order: delivers nothing further, because its queue is to be, or already is, another
   * member's. What waits to come again here comes again there.
   */
  retire(): void {
    this.#isRetired = true
    const held = this.#current === undefined ? undefined : this.#held.get(this.#current)
    if (held !== undefined && held.delivery === undefined) this.#giveUp(held)
  }

  get isRetired(): boolean {
    return this.#isRetired
  }

  /**
   * An operator moved the group: reads and delivers nothing further, and what is here does not
   * count. From now on `committable` is the place to which the group was moved.
   */
  move(offset: number): void {
    this.#movedTo = offset
    this.progress.forget()
    this.retire()
    this.#end()
  }

  /** Reads no more. Delivered messages can still be settled; the rest are given up. */
  async stop(): Promise<void> {
    this.#end()
    await this.#done
    for (const held of this.#held.values()) if (held.delivery === undefined) this.#giveUp(held)
  }

  #end(): void {
    this.#stop.abort()
    for (const timer of this.#timers) timer.cancel()
    this.#wake?.()
  }

  /** Gives up the unsettled messages: the queue is another member's, or has no member. */
  giveUp(): void {
    for (const held of this.#held.values()) this.#owner.held(-held.record.size)
    this.#held.clear()
    this.#backlog.length = 0
    this.#current = undefined
  }

  /** Room may have come: of bytes, or because other queues went. */
  wake(): void {
    this.#wake?.()
  }

  holds(delivery: Delivery): boolean {
    return this.#held.get(delivery.queueOffset)?.delivery === delivery
  }

  async ack(delivery: Delivery): Promise<void> {
    this.#settle(this.#heldOf(delivery))
  }

  async nack(delivery: Delivery, delayMs: number | undefined): Promise<void> {
    if (delayMs !== undefined && !Number.isFinite(delayMs)) {
      throw new BrokerError('ARGUMENT_INVALID', `'delayMs' is ${delayMs}; a number is due`)
    }
    const held = this.#heldOf(delivery)
    if (this.#owner.options.broadcasting) return this.#settle(held)
    if (this.#owner.options.ordered && !this.#isSpent(delivery)) {
      return this.#again(held, delayMs ?? ORDERED_RETRY_MS)
    }
    try {
      await this.#handBack(delivery, held, delayMs)
    } catch (error) {
      // Retention took it: it cannot come again, and unsettled it would stop its queue for good.
      if (error instanceof BrokerError && error.code === 'MESSAGE_NOT_FOUND') this.#settle(held)
      throw error
    }
    this.#settle(held)
  }

  /** A queue is its member's until a rebalance; there is no time to extend. */
  async extend(delivery: Delivery): Promise<void> {
    this.#heldOf(delivery)
  }

  #isSpent(delivery: Delivery): boolean {
    const { retriesMax } = this.#owner.options
    return retriesMax !== undefined && delivery.attempt > retriesMax
  }

  async #handBack(delivery: Delivery, held: Held, delayMs: number | undefined): Promise<void> {
    const { group, ordered, retriesMax } = this.#owner.options
    const connection = await this.#owner.connection(this.queue)
    await sendBack(
      connection,
      {
        offset: held.record.position,
        group,
        delayLevel: ordered ? -1 : delayMs === undefined ? 0 : delayLevelFor(delayMs),
        originMsgId: delivery.offsetMessageId,
        originTopic: this.queue.topic,
        unitMode: false,
        maxReconsumeTimes: retriesMax,
      },
      {},
    )
  }

  /** @throws BrokerError RECEIPT_EXPIRED */
  #heldOf(delivery: Delivery): Held {
    const held = this.#held.get(delivery.queueOffset)
    if (held?.delivery === delivery) return held
    throw new BrokerError(
      'RECEIPT_EXPIRED',
      `${delivery.messageId} is settled already, or its queue went to another member of the group`,
    )
  }

  #settle(held: Held): void {
    const offset = held.record.queueOffset
    if (!this.#held.delete(offset)) return
    this.#window.settle(offset)
    this.#owner.held(-held.record.size)
    if (this.#current === offset) this.#current = undefined
    this.#deliverNext()
    this.#wake?.()
  }

  /** Not settled, so the next reader of the queue delivers it to the group again. */
  #giveUp(held: Held): void {
    const offset = held.record.queueOffset
    this.#held.delete(offset)
    this.#owner.held(-held.record.size)
    if (this.#current === offset) this.#current = undefined
  }

  #again(held: Held, delayMs: number): void {
    held.retries++
    held.delivery = undefined
    if (this.#stop.signal.aborted || this.#isRetired) {
      this.#giveUp(held)
      return
    }
    const timer = this.#owner.clock.after(delayMs, () => {
      this.#timers.delete(timer)
      this.#deliver(held)
    })
    this.#timers.add(timer)
  }

  #deliver(held: Held): void {
    if (this.#stop.signal.aborted || !this.#held.has(held.record.queueOffset)) return
    held.delivery = new Delivery(held.record, this.queue.brokerName, this, held.retries)
    if (this.#owner.options.ordered) this.#current = held.record.queueOffset
    this.#owner.deliver(held.delivery)
  }

  /** In order only: the next one goes out when the one before is settled. */
  #deliverNext(): void {
    if (!this.#owner.options.ordered || this.#isRetired || this.#current !== undefined) return
    const offset = this.#backlog.shift()
    const held = offset === undefined ? undefined : this.#held.get(offset)
    if (held !== undefined) this.#deliver(held)
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop
    const backOff = new BackOff(FIRST_PAUSE_MS, LONGEST_PAUSE_MS)
    while (!signal.aborted) {
      try {
        await this.#untilRoom()
        if (signal.aborted) return
        const began = this.#owner.clock.monotonic()
        const from = this.#window.next
        const answer = await this.#pull(signal)
        this.progress.carried()
        this.#take(answer)
        backOff.reset()
        // A broker that answers at once with nothing must not be asked in a tight loop.
        const isIdle = this.#window.next === from && this.#owner.clock.monotonic() - began < IDLE_MS
        if (isIdle) await sleep(this.#owner.clock, IDLE_MS, signal)
      } catch (error) {
        this.progress.forget()
        if (signal.aborted) return
        const pauseMs = backOff.nextMs()
        this.#owner.failed(BrokerError.from(error), this.queue, pauseMs)
        await sleep(this.#owner.clock, pauseMs, signal).catch(() => {})
      }
    }
  }

  #hasRoom(): boolean {
    const { roomPerQueue, isFull } = this.#owner
    return this.#held.size < roomPerQueue && this.#window.span < SPAN_MAX && !isFull
  }

  async #untilRoom(): Promise<void> {
    while (!this.#hasRoom() && !this.#stop.signal.aborted) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    this.#wake = undefined
  }

  async #pull(signal: AbortSignal): Promise<PullAnswer> {
    const { roomPerQueue, options, clock } = this.#owner
    const connection = await this.#owner.connection(this.queue, signal)
    const { committable } = this
    const commits = !options.broadcasting && !this.progress.isTold(committable, connection)
    if (commits) this.progress.carry(committable, connection, clock.monotonic())
    return pull(
      connection,
      {
        consumerGroup: options.group,
        topic: this.queue.topic,
        queueId: this.queue.queueId,
        queueOffset: this.#window.next,
        maxMsgNums: Math.max(1, Math.min(BATCH_MAX, roomPerQueue - this.#held.size)),
        sysFlag: PULL_FLAGS | (commits ? PULL_FLAG.commitOffset : 0),
        commitOffset: committable,
        suspendTimeoutMillis: SUSPEND_MS,
        subscription: this.#filter.expression,
        subVersion: 0,
        expressionType: EXPRESSION_TYPE[this.#filter.kind],
      },
      { timeoutMs: PULL_TIMEOUT_MS, signal },
    )
  }

  #take(answer: PullAnswer): void {
    if (this.#movedTo !== undefined) return
    if (answer.isReset && !this.#owner.options.broadcasting) {
      this.move(answer.nextOffset)
      this.#owner.moved()
      return
    }
    if (answer.status === 'moved') {
      this.#goOn(answer)
      this.#denied = 0
      return
    }
    this.#denied = 0
    for (const record of recordsOf(answer.records)) {
      const offset = record.queueOffset
      if (offset < this.#window.next) continue
      if (!selects(this.#filter, record)) continue
      this.#hold(offset, { record, retries: 0, delivery: undefined })
    }
    this.#window.advance(answer.nextOffset)
  }

  #hold(offset: number, held: Held): void {
    this.#window.add(offset)
    this.#held.set(offset, held)
    this.#owner.held(held.record.size)
    if (this.#owner.options.ordered) {
      this.#backlog.push(offset)
      this.#deliverNext()
    } else {
      this.#deliver(held)
    }
  }

  /**
   * The broker no longer has, or never had, what comes next: go on where it says. What is here of a
   * queue that lost its old end is good; what is here of one that begins anew is not its own any
   * more.
   */
  #goOn({ nextOffset, minOffset, maxOffset }: PullAnswer): void {
    const { topic, queueId } = this.queue
    const from = this.#window.next
    const held = `queue ${queueId} of '${topic}' has no offset ${from} (it holds ${minOffset} to ${maxOffset})`
    // One that has just begun may say so, and has more a moment later.
    if (nextOffset < from && ++this.#denied < DENIED_MAX) {
      throw new BrokerError('OFFSET_OUT_OF_RANGE', `${held}; it is asked again`)
    }
    if (nextOffset > from) this.#window.advance(nextOffset)
    else {
      this.giveUp()
      this.#window = new QueueWindow(nextOffset)
    }
    this.#owner.failed(
      new BrokerError(
        'OFFSET_OUT_OF_RANGE',
        `${held}; group '${this.#owner.options.group}' goes on at ${nextOffset}`,
      ),
      this.queue,
    )
  }
}
