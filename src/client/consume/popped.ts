// A popped message's settlement: its handle, which a change of its time replaces, and the
// acknowledgements of one turn, which go to their broker together.
import type { Clock } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import { retryDelayMs } from '../../model/delay-levels.ts'
import type { BatchAck, PopHandle } from '../../remoting/requests/pop.ts'
import { sendBack } from '../calls/calls.ts'
import { ackPopped, changeInvisibleTime } from '../calls/pop-calls.ts'
import type { Brokers } from '../routes/brokers.ts'
import type { Delivery, Settlement } from './delivery.ts'

/** RocketMQ's level of a message that is not to come again. */
const DEAD_LETTER = -1

export interface PopSettlements {
  readonly clock: Clock
  readonly brokers: Brokers
  readonly timeoutMs: number
  readonly acks: AckLine
}

export class PopSettlement implements Settlement {
  readonly #parts: PopSettlements
  readonly #group: string
  readonly #topic: string
  readonly #retriesMax: number
  /** undefined: it is settled. */
  #handle: PopHandle | undefined
  #endMs: number

  constructor(
    parts: PopSettlements,
    of: { readonly group: string; readonly topic: string; readonly retriesMax: number },
    handle: PopHandle,
  ) {
    this.#parts = parts
    this.#group = of.group
    this.#topic = of.topic
    this.#retriesMax = of.retriesMax
    this.#handle = handle
    this.#endMs = parts.clock.monotonic() + handle.invisibleTime
  }

  holds(): boolean {
    return this.#handle !== undefined && this.#parts.clock.monotonic() < this.#endMs
  }

  async ack(): Promise<void> {
    await this.#settle((handle) => this.#parts.acks.add(this.#of, handle))
  }

  async nack(delivery: Delivery, delayMs: number | undefined): Promise<void> {
    const isLast = delivery.attempt > this.#retriesMax
    await this.#settle(async (handle) => {
      if (isLast) await this.#giveUp(delivery, handle)
      else await this.#change(handle, delayMs ?? retryDelayMs(delivery.attempt - 1))
    })
  }

  async extend(_delivery: Delivery, ms: number): Promise<void> {
    const changed = await this.#settle((handle) => this.#change(handle, ms))
    this.#endMs = this.#parts.clock.monotonic() + ms
    this.#handle = changed
  }

  /** Apache's broker moves nothing to the dead letters by itself. */
  async #giveUp(delivery: Delivery, handle: PopHandle): Promise<void> {
    const { brokers, timeoutMs, acks } = this.#parts
    const connection = await brokers.connection(handle.brokerName, { timeoutMs })
    const fields = {
      group: this.#group,
      offset: delivery.logPosition,
      delayLevel: DEAD_LETTER,
      originMsgId: delivery.messageId,
      originTopic: this.#topic,
      unitMode: false,
      maxReconsumeTimes: 0,
    }
    await sendBack(connection, fields, { timeoutMs })
    await acks.add(this.#of, handle)
  }

  /** @throws RECEIPT_EXPIRED */
  async #change(handle: PopHandle, ms: number): Promise<PopHandle> {
    const { brokers, timeoutMs } = this.#parts
    const connection = await brokers.connection(handle.brokerName, { timeoutMs })
    const of = { group: this.#group, topic: this.#topic, handle }
    const changed = await changeInvisibleTime(connection, of, ms, { timeoutMs })
    if (changed === undefined) throw expired()
    return changed
  }

  /** After an error it is the caller's still, and may be settled again. */
  async #settle<T>(settle: (handle: PopHandle) => Promise<T>): Promise<T> {
    const handle = this.#handle
    if (handle === undefined || !this.holds()) throw expired()
    this.#handle = undefined
    try {
      return await settle(handle)
    } catch (error) {
      this.#handle = handle
      throw error
    }
  }

  get #of(): AckOf {
    return { group: this.#group, topic: this.#topic }
  }
}

const expired = (): BrokerError =>
  new BrokerError('RECEIPT_EXPIRED', 'the message is settled, or its invisible time is over')

/** Entries of one request, each of one POP and queue; brokers of ours take four times as many. */
const ENTRIES_MAX = 1024

/** Whose message it is. */
type AckOf = Pick<BatchAck, 'group' | 'topic'>

interface Gathered extends BatchAck {
  readonly offsets: number[]
}

/** Requests for each broker and turn of the event loop: one, unless there is too much for that. */
export class AckLine {
  readonly #brokers: Brokers
  readonly #timeoutMs: number
  readonly #waiting = new Map<string, { acks: Gathered[]; sent: Promise<void> }>()

  constructor(brokers: Brokers, timeoutMs: number) {
    this.#brokers = brokers
    this.#timeoutMs = timeoutMs
  }

  /** Those of one request settle with one promise. */
  add(of: AckOf, handle: PopHandle): Promise<void> {
    const { brokerName } = handle
    const line = this.#waiting.get(brokerName)
    if (line !== undefined && addTo(line.acks, of, handle)) return line.sent
    const acks = [gathered(of, handle)]
    const sent = this.#send(brokerName, acks)
    this.#waiting.set(brokerName, { acks, sent })
    return sent
  }

  async #send(brokerName: string, acks: Gathered[]): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve))
    if (this.#waiting.get(brokerName)?.acks === acks) this.#waiting.delete(brokerName)
    const options = { timeoutMs: this.#timeoutMs }
    const connection = await this.#brokers.connection(brokerName, options)
    await ackPopped(connection, brokerName, acks, options)
  }
}

const gathered = (of: AckOf, handle: PopHandle): Gathered => ({
  ...{ ...handle, group: of.group, topic: of.topic },
  offsets: [handle.offset],
})

/** With the last entry, where they are of one POP and queue. False when there is no room. */
function addTo(acks: Gathered[], of: AckOf, handle: PopHandle): boolean {
  const last = acks.at(-1)!
  if (isOfOnePop(last, of, handle)) last.offsets.push(handle.offset)
  else if (acks.length < ENTRIES_MAX) acks.push(gathered(of, handle))
  else return false
  return true
}

const isOfOnePop = (one: BatchAck, of: AckOf, handle: PopHandle): boolean =>
  one.queueId === handle.queueId &&
  one.popTime === handle.popTime &&
  one.startOffset === handle.startOffset &&
  one.reviveQid === handle.reviveQid &&
  one.retryKind === handle.retryKind &&
  one.invisibleTime === handle.invisibleTime &&
  one.topic === of.topic &&
  one.group === of.group
