// Those that wait for messages of one group, topic and filter. Brokers are popped in turn and
// answer at once; while none of them has something, each is asked to tell when it has. So no broker
// hands out what another one's answer has made too much, and none has a request left that it could
// answer with messages when a gateway stops.
import { randomUUID } from 'node:crypto'
import { abortController } from '../../client/calls/abort.ts'
import { isThereToPop, type PoppedRecord, popMessages } from '../../client/calls/pop-calls.ts'
import { type Clock, nextTurn, sleep, type Timer } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import { ANY_QUEUE, type ReceiveRequest } from '../../model/message.ts'
import { EXPRESSION_TYPE } from '../../model/message-filter.ts'
import { unreadable } from '../../model/topic.ts'
import { INIT_AT_END, POP_MESSAGES_MAX, type PopFields } from '../../remoting/requests/pop.ts'
import type { QueueRef } from '../../remoting/requests/queue.ts'
import type { Links } from '../links.ts'
import { filterOfPop } from '../read/broker-filter.ts'
import { PopOrder } from './pop-order.ts'

/** One request is held so long at most; then the next is. */
const HELD_MS_MAX = 15_000
/** Where the news was of messages that are not for us, and where no broker answers. */
const PAUSE_MS = 200
/** A broker that has not answered by then is passed over until it has. */
const SLOW_MS = 200
/** One that cannot be asked is tried again after that. */
const RETRY_MS = 1_000
/** What a taker left, and what is known of brokers, is kept for the next one so long. */
const KEPT_MS = 500
/** POPs of one line under way at a time, for as many takers, while each of them finds something. */
const POPS_MAX = 4
/** And while they are answered in full: at most, as what the takers have room for comes in. */
const FULL_POPS_MAX = 16

/** One that waits. */
export interface Taker {
  readonly request: ReceiveRequest
  /** Takes the first of them away, as many as are wanted; none, where none of those was for it. */
  take(popped: PoppedRecord[]): void
  /** At its time, or with an error. */
  end(error?: BrokerError): void
  readonly endMs: number
}

interface Parts {
  readonly links: Links
  readonly clock: Clock
  /** What no taker is left for. Never rejects. */
  handBack(popped: readonly PoppedRecord[]): Promise<unknown>
  /** Nothing waits here, is asked for or is kept. */
  idle(line: PopLine): void
}

export class PopLine {
  readonly #parts: Parts
  readonly #takers: Taker[] = []
  /** Popped for a taker that had no room for all of it. */
  readonly #left: PoppedRecord[] = []
  #leaving: Timer | undefined
  #pops = 0
  /** Those of them that do not wait for news. */
  #asking = 0
  /** Messages that they may be answered with. */
  #asked = 0
  /** POPs that what the takers have room for comes in. */
  #due = 0
  /** Messages that the takers have room for. */
  #wanted = 0
  /** What POPs under way at one time are answered with. */
  readonly #order = new PopOrder()
  /** Those of them that may be under way: more with each answer in full, one after an empty one. */
  #width = 1
  #turn = 0
  /** News in a row of which nothing was for us. */
  #vain = 0
  /** Brokers that have not answered yet. */
  readonly #slow = new Set<string>()
  /** Brokers that are to tell when they have something. */
  readonly #awaited = new Set<string>()
  /** Ends the wait for that. */
  #wake: ((isNews: boolean) => void) | undefined
  readonly #stop = abortController()
  /** Until what they are answered with is handed out; they never reject. */
  readonly #popping = new Set<Promise<unknown>>()
  /** A broker answers an attempt that it knows with what it gave before. */
  readonly #id = randomUUID()
  #attempts = 0
  #isClosed = false

  constructor(parts: Parts) {
    this.#parts = parts
  }

  add(taker: Taker): void {
    this.#takers.push(taker)
    this.#count(taker, 1)
    if (this.#left.length > 0) this.#hand(this.#left.splice(0))
    this.#look()
    this.#popMore()
  }

  remove(taker: Taker): void {
    const at = this.#takers.indexOf(taker)
    if (at >= 0) {
      this.#takers.splice(at, 1)
      this.#count(taker, -1)
    }
    this.#endIfAlone()
  }

  #count({ request }: Taker, sign: 1 | -1): void {
    this.#wanted += sign * request.maxMessages
    this.#due += sign * Math.ceil(request.maxMessages / POP_MESSAGES_MAX)
  }

  /** What has no taker waits for no news. */
  #endIfAlone(): void {
    if (this.#takers.length === 0) this.#wake?.(false)
  }

  /**
   * Hands back what is kept, and what brokers still answer, so that it need not wait for its time.
   * Never rejects.
   */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#stop.abort(new BrokerError('CLOSED', 'the gateway is closed'))
    this.#wake?.(false)
    this.#left.push(...this.#order.takeAll())
    await this.#handBackLeft()
    while (this.#popping.size > 0) await Promise.all(this.#popping)
  }

  async #handBackLeft(): Promise<void> {
    this.#leaving?.cancel()
    this.#leaving = undefined
    const left = this.#left.splice(0)
    if (left.length > 0) await this.#parts.handBack(left)
  }

  /** As a rule the takers of an answer come back at once. */
  #look(): void {
    if (this.#isInUse) return
    if (this.#isClosed) this.#parts.idle(this)
    else this.#leaveLater()
  }

  get #isInUse(): boolean {
    const kept = this.#left.length + this.#order.waiting
    return this.#takers.length + this.#pops + kept + this.#awaited.size > 0
  }

  #leaveLater(): void {
    this.#leaving ??= this.#parts.clock.after(KEPT_MS, () => {
      void this.#handBackLeft()
      if (!this.#isInUse) this.#parts.idle(this)
    })
  }

  /** Not more than there is room for: what comes then is kept for a short time only. */
  get #popsMax(): number {
    return Math.min(this.#due, Math.max(this.#width, Math.min(POPS_MAX, this.#takers.length)))
  }

  /** Messages that nothing is asked for, and that none of those which wait will fill. */
  get #room(): number {
    return this.#wanted - this.#asked - this.#order.waiting
  }

  /** For an answer in full: a POP for a few messages costs a broker as much. */
  get #hasRoom(): boolean {
    const [taker] = this.#takers
    return (
      taker !== undefined && this.#room >= Math.min(taker.request.maxMessages, POP_MESSAGES_MAX)
    )
  }

  #popMore(): void {
    while (this.#pops < this.#popsMax && this.#hasRoom && !this.#isClosed) void this.#run()
  }

  async #run(): Promise<void> {
    const isFirst = this.#pops === 0
    this.#pops++
    try {
      while (this.#takers.length > 0 && !this.#isClosed) {
        const isFound = await this.#round(isFirst)
        if (!isFirst && (!isFound || this.#asking >= this.#popsMax)) return
        // Those under way may fill it all.
        if (this.#asking > 0 && !this.#hasRoom) return
        this.#popMore()
      }
    } finally {
      this.#pops--
      if (this.#takers.length > 0 && this.#pops === 0 && !this.#isClosed) void this.#run()
      this.#look()
    }
  }

  /** @param waits while there is nothing; @returns whether there was something */
  async #round(waits: boolean): Promise<boolean> {
    const { clock } = this.#parts
    const [{ request }] = this.#takers as [Taker]
    try {
      const { names, fields, isFound } = await this.#popOnce(request)
      if (isFound) {
        this.#vain = 0
        return true
      }
      // What another POP is answered may be for them.
      if (this.#asking === 0) this.#endOverdue(undefined)
      if (!waits || this.#takers.length === 0 || this.#isClosed) return false
      this.#vain = (await this.#news(names, fields)) ? this.#vain + 1 : 0
      // Asked again at once a broker would say the same.
      if (this.#vain > 1) await sleep(clock, PAUSE_MS)
    } catch (thrown) {
      const error = BrokerError.from(thrown)
      this.#endOverdue(error)
      if (this.#takers.length > 0) await sleep(clock, PAUSE_MS)
    }
    return false
  }

  async #popOnce(request: ReceiveRequest) {
    const { routes } = this.#parts.links
    const fields = this.#fieldsOf(request)
    this.#asking++
    this.#asked += fields.maxMsgNums
    try {
      const { readable, writable } = await routes.queues(request.topic)
      if (readable.length === 0 && writable.length > 0) throw unreadable(request.topic)
      const names = namesOf(request, readable)
      return { names, fields, isFound: await this.#popAny(names, fields) }
    } finally {
      this.#asking--
      this.#asked -= fields.maxMsgNums
    }
  }

  #fieldsOf(request: ReceiveRequest): PopFields {
    const { group, topic, queueId, maxMessages, invisibleMs, ordered, startAt } = request
    const { kind, expression } = filterOfPop(request.filter)
    return {
      consumerGroup: group,
      topic,
      queueId,
      maxMsgNums: Math.min(maxMessages, POP_MESSAGES_MAX, Math.max(this.#room, 1)),
      invisibleTime: invisibleMs,
      pollTime: 0,
      bornTime: 0,
      initMode: startAt === 'last' ? INIT_AT_END : 0,
      expType: EXPRESSION_TYPE[kind],
      exp: expression,
      order: ordered,
      ...(ordered && { attemptId: `${this.#id}#${++this.#attempts}` }),
    }
  }

  /** Whether one of them had something. Fails when none could be asked. */
  async #popAny(names: readonly string[], fields: PopFields): Promise<boolean> {
    const first = this.#turn++
    let failure: unknown
    let failures = 0
    for (let i = 0; i < names.length; i++) {
      const name = names[(first + i) % names.length]!
      if (this.#slow.has(name)) continue
      try {
        if (await this.#pop(name, fields, names.length > 1)) return true
      } catch (error) {
        failure = error
        failures++
      }
    }
    this.#width = 1
    if (failures === names.length) throw failure
    return false
  }

  /**
   * Whether it had something. One that is slow has nothing, where there are others; what it still
   * answers is handed out.
   */
  async #pop(name: string, fields: PopFields, hasOthers: boolean): Promise<boolean> {
    const { clock } = this.#parts
    const popping = this.#popInOrder(name, fields)
    this.#track(popping)
    if (!hasOthers) return popping
    const slow = Symbol()
    let timer: Timer | undefined
    const patience = new Promise<typeof slow>((resolve) => {
      timer = clock.after(SLOW_MS, () => resolve(slow))
    })
    const first = await Promise.race([popping, patience]).finally(() => timer?.cancel())
    if (first !== slow) return first
    this.#slow.add(name)
    this.#track(popping.catch(() => {}).finally(() => this.#slow.delete(name)))
    return false
  }

  async #popInOrder(name: string, fields: PopFields): Promise<boolean> {
    const open = this.#order.open(name)
    let popped: PoppedRecord[] = []
    try {
      const connection = await this.#parts.links.brokers.connection(name)
      popped = await popMessages(connection, name, fields, {})
      const isFull = popped.length >= fields.maxMsgNums && !fields.order
      if (isFull) this.#width = Math.min(this.#width * 2, FULL_POPS_MAX)
    } finally {
      this.#hand(this.#order.answered(open, popped))
      if (this.#isClosed) this.#hand(this.#order.takeAll())
    }
    return popped.length > 0
  }

  #track(popping: Promise<unknown>): void {
    const tracked = popping
      .catch(() => {})
      // What it was given is handed out, or back, by then.
      .then(nextTurn)
      .finally(() => this.#popping.delete(tracked))
    this.#popping.add(tracked)
  }

  /**
   * Settles when a broker has something, which it says then, or when all are to be asked again. One
   * that was asked is not asked anew before it has answered: it keeps each question for its time.
   */
  #news(names: readonly string[], fields: PopFields): Promise<boolean> {
    for (const name of names) {
      if (!this.#awaited.has(name) && !this.#slow.has(name)) this.#ask(name, fields)
    }
    return new Promise((resolve) => {
      this.#wake = resolve
      if (this.#awaited.size === 0)
        void sleep(this.#parts.clock, PAUSE_MS).then(() => resolve(false))
    })
  }

  #ask(name: string, fields: PopFields): void {
    this.#awaited.add(name)
    void this.#isThere(name, fields).then((isNews) => {
      this.#awaited.delete(name)
      this.#wake?.(isNews)
      this.#look()
    })
  }

  async #isThere(name: string, fields: PopFields): Promise<boolean> {
    const { clock, links } = this.#parts
    const { consumerGroup, topic, queueId, bornTime, order, expType, exp } = fields
    const asked = { consumerGroup, topic, queueId, bornTime, order, expType, exp }
    const { signal } = this.#stop
    try {
      const connection = await links.brokers.connection(name, { signal })
      return await isThereToPop(connection, { ...asked, pollTime: HELD_MS_MAX }, { signal })
    } catch {
      await sleep(clock, RETRY_MS, signal).catch(() => {})
      return false
    }
  }

  #hand(popped: PoppedRecord[]): void {
    while (popped.length > 0 && this.#takers.length > 0 && !this.#isClosed) {
      const taker = this.#takers.shift()!
      this.#count(taker, -1)
      taker.take(popped)
    }
    this.#endIfAlone()
    if (popped.length > 0) this.#keep(popped)
  }

  /** The next taker comes soon, as a rule; from a broker it would be given them seconds later. */
  #keep(popped: readonly PoppedRecord[]): void {
    if (this.#left.length === 0) {
      this.#leaving?.cancel()
      this.#leaving = undefined
    }
    this.#left.push(...popped)
    if (this.#isClosed) void this.#handBackLeft()
    else this.#leaveLater()
  }

  /**
   * With an error that lasts all of them end, else those whose time is over. A broker's flow
   * control does not last.
   */
  #endOverdue(error: BrokerError | undefined): void {
    const nowMs = this.#parts.clock.monotonic()
    const lasts = error !== undefined && !error.retryable && error.code !== 'QUOTA_EXCEEDED'
    for (const taker of [...this.#takers]) {
      if (!lasts && taker.endMs > nowMs) continue
      this.remove(taker)
      taker.end(error)
    }
  }
}

/** @throws QUEUE_NOT_FOUND, NO_ROUTE */
function namesOf(
  { topic, queueId, brokerName }: ReceiveRequest,
  readable: readonly QueueRef[],
): string[] {
  const wanted = readable.filter(
    (queue) =>
      (queueId === ANY_QUEUE || queue.queueId === queueId) &&
      (brokerName === undefined || queue.brokerName === brokerName),
  )
  if (wanted.length > 0) return [...new Set(wanted.map((queue) => queue.brokerName))]
  const isThere = readable.length > 0
  throw new BrokerError(
    isThere ? 'QUEUE_NOT_FOUND' : 'NO_ROUTE',
    `the topic '${topic}' has no such queue to read now`,
    { retryable: !isThere },
  )
}
