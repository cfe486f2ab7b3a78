// Those that wait for messages of one group, topic and filter. As many POPs are under way as there
// are masters at most; one that waits, waits for the news of all of them, so that no broker hands
// out what another one's answer has made too much.
import { randomUUID } from 'node:crypto'
import { abortController } from '../../client/calls/abort.ts'
import { isThereToPop, type PoppedRecord, popMessages } from '../../client/calls/pop-calls.ts'
import { type Clock, sleep, type Timer } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import { ANY_QUEUE, type ReceiveRequest } from '../../model/message.ts'
import { EXPRESSION_TYPE } from '../../model/message-filter.ts'
import { INIT_AT_END, POP_MESSAGES_MAX, type PopFields } from '../../remoting/requests/pop.ts'
import type { QueueRef } from '../../remoting/requests/queue.ts'
import type { Links } from '../links.ts'

/** One request is held so long at most; then the next is. */
const HELD_MS_MAX = 15_000
/** Where the news was of messages that are not for us, and where no broker answers. */
const PAUSE_MS = 200
/** What a taker left is kept for the next one so long. */
const KEPT_MS = 500
/** POPs of one line under way at a time, while each of them finds something. */
const POPS_MAX = 4

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
  #turn = 0
  /** A broker answers an attempt that it knows with what it gave before. */
  readonly #id = randomUUID()
  #attempts = 0
  #isClosed = false

  constructor(parts: Parts) {
    this.#parts = parts
  }

  add(taker: Taker): void {
    this.#takers.push(taker)
    if (this.#left.length > 0) this.#hand(this.#left.splice(0))
    this.#look()
    if (this.#takers.length === 0) return
    if (this.#pops < Math.min(POPS_MAX, this.#takers.length)) void this.#run()
  }

  remove(taker: Taker): void {
    const at = this.#takers.indexOf(taker)
    if (at >= 0) this.#takers.splice(at, 1)
  }

  /** A broker may still answer, perhaps with what was just released. */
  get isAsking(): boolean {
    return this.#pops > 0
  }

  /** Hands back what is kept, and what still comes, so that it need not wait for its time. */
  close(): Promise<void> {
    this.#isClosed = true
    return this.#handBackLeft()
  }

  async #handBackLeft(): Promise<void> {
    this.#leaving?.cancel()
    this.#leaving = undefined
    const left = this.#left.splice(0)
    if (left.length > 0) await this.#parts.handBack(left)
  }

  #look(): void {
    if (this.#takers.length > 0 || this.#pops > 0 || this.#left.length > 0) return
    this.#parts.idle(this)
  }

  async #run(): Promise<void> {
    const isFirst = this.#pops === 0
    this.#pops++
    try {
      for (let empty = 0; this.#takers.length > 0; empty++) {
        if (await this.#round(isFirst, empty)) empty = -1
        else if (!isFirst) return
      }
    } finally {
      this.#pops--
      if (this.#takers.length > 0 && this.#pops === 0) void this.#run()
      this.#look()
    }
  }

  /** @param waits while there is nothing; @returns whether there was something */
  async #round(waits: boolean, empty: number): Promise<boolean> {
    const { clock, links } = this.#parts
    const [{ request }] = this.#takers as [Taker]
    try {
      const { readable } = await links.routes.queues(request.topic)
      const names = namesOf(request, readable)
      const endMs = Math.min(...this.#takers.map((taker) => taker.endMs))
      const leftMs = Math.floor(Math.min(HELD_MS_MAX, Math.max(0, endMs - clock.monotonic())))
      const fields = this.#fieldsOf(request)
      const pollTime = waits && names.length === 1 ? leftMs : 0
      const askedMs = clock.monotonic()
      const popped = await this.#popAt(names, { ...fields, pollTime })
      if (popped.length > 0) {
        this.#hand(popped)
        return true
      }
      this.#endOverdue(undefined)
      if (!waits || this.#takers.length === 0) return false
      // A request that was not held, though it was to be, is not repeated at once.
      const isHeld = pollTime > 0 && clock.monotonic() - askedMs >= Math.min(pollTime, PAUSE_MS)
      if (empty > 0 && !isHeld) await sleep(clock, Math.min(leftMs, PAUSE_MS))
      if (names.length === 1) return false
      await this.#news(names, { ...fields, pollTime: leftMs })
    } catch (thrown) {
      const error = BrokerError.from(thrown)
      this.#endOverdue(error)
      if (this.#takers.length > 0) await sleep(clock, PAUSE_MS)
    }
    return false
  }

  #fieldsOf(request: ReceiveRequest): PopFields {
    const { group, topic, queueId, maxMessages, invisibleMs, filter, ordered, startAt } = request
    return {
      consumerGroup: group,
      topic,
      queueId,
      maxMsgNums: Math.min(maxMessages, POP_MESSAGES_MAX),
      invisibleTime: invisibleMs,
      pollTime: 0,
      bornTime: 0,
      initMode: startAt === 'last' ? INIT_AT_END : 0,
      expType: EXPRESSION_TYPE[filter.kind],
      exp: filter.expression,
      order: ordered,
      ...(ordered && { attemptId: `${this.#id}#${++this.#attempts}` }),
    }
  }

  /** The first that has something. Fails when none could be asked. */
  async #popAt(names: readonly string[], fields: PopFields): Promise<PoppedRecord[]> {
    const first = this.#turn++
    let failure: unknown
    let failures = 0
    for (let i = 0; i < names.length; i++) {
      const name = names[(first + i) % names.length]!
      try {
        const connection = await this.#parts.links.brokers.connection(name)
        const popped = await popMessages(connection, name, fields, {})
        if (popped.length > 0) return popped
      } catch (error) {
        failure = error
        failures++
      }
    }
    if (failures === names.length) throw failure
    return []
  }

  /** Settles when one of the brokers has something, or the time is over. */
  async #news(names: readonly string[], fields: PopFields): Promise<void> {
    const { consumerGroup, topic, queueId, bornTime, order, expType, exp, pollTime } = fields
    const asked = { consumerGroup, topic, queueId, bornTime, order, expType, exp, pollTime }
    const others = abortController()
    const { signal } = others
    const ask = async (name: string): Promise<void> => {
      const connection = await this.#parts.links.brokers.connection(name, { signal })
      if (await isThereToPop(connection, asked, { signal })) return
      throw new BrokerError('TIMED_OUT', `nothing at '${name}'`)
    }
    await Promise.any(names.map(ask)).catch(() => {})
    others.abort(new BrokerError('ABORTED', 'another broker has messages'))
  }

  #hand(popped: PoppedRecord[]): void {
    while (popped.length > 0 && this.#takers.length > 0) {
      const taker = this.#takers.shift()!
      taker.take(popped)
    }
    if (popped.length > 0) this.#keep(popped)
  }

  /** The next taker comes soon, as a rule; from a broker it would be given them seconds later. */
  #keep(popped: readonly PoppedRecord[]): void {
    this.#left.push(...popped)
    if (this.#isClosed) return void this.#handBackLeft()
    this.#leaving ??= this.#parts.clock.after(KEPT_MS, () => {
      void this.#handBackLeft()
      this.#look()
    })
  }

  /** With an error that lasts all of them end, else those whose time is over. */
  #endOverdue(error: BrokerError | undefined): void {
    const nowMs = this.#parts.clock.monotonic()
    const lasts = error !== undefined && !error.retryable
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
