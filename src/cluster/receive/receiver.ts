// Competing consumers per message at the brokers of a cluster, by POP: receiving, and each way of
// settling.

import { onAbort } from '../../abort.ts'
import { abortController } from '../../client/calls/abort.ts'
import { sendBack } from '../../client/calls/calls.ts'
import { changeInvisibleTime, type PoppedRecord } from '../../client/calls/pop-calls.ts'
import { AckLine } from '../../client/consume/popped.ts'
import { type Clock, sleep } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import { retryDelayMs } from '../../model/delay-levels.ts'
import type { GroupDefinition } from '../../model/group.ts'
import type { Receipt, ReceivedMessage, ReceiveRequest, SettleResult } from '../../model/message.ts'
import { selects } from '../../model/message-filter.ts'
import { checkGroupName, checkTopicName, isLightQueue } from '../../model/names.ts'
import { PROPERTY } from '../../model/properties.ts'
import type { PopHandle } from '../../remoting/requests/pop.ts'
import { type ClusterGroups, leavesNothing } from '../definitions/groups.ts'
import type { ClusterTopics } from '../definitions/topics.ts'
import type { Links } from '../links.ts'
import type { ClusterOptions } from '../options.ts'
import type { ClusterCursors } from '../read/cursors.ts'
import { isGone } from '../read/expiry.ts'
import { PopLine, type Taker } from './pop-line.ts'
import { PopReceipt, unsealed } from './pop-receipt.ts'

/** RocketMQ's level of a message that is not to come again. */
const DEAD_LETTER = -1
/** What is handed back comes again so soon at the earliest, and three seconds later by a broker. */
const BACK_MS = 0
/** A broker that answers a POP later than that is gone, or frozen. */
const LAST_ANSWERS_MS = 2_000
/** Asked again beyond that. */
const STARTED_MAX = 10_000

interface Parts {
  readonly links: Links
  readonly clock: Clock
  readonly options: ClusterOptions
  readonly groups: ClusterGroups
  readonly topics: ClusterTopics
  readonly cursors: ClusterCursors
  /** Counts what a group was given. */
  readonly given: (group: string, topic: string, messages: number) => void
}

export class ClusterReceiver {
  readonly #parts: Parts
  readonly #acks: AckLine
  readonly #lines = new Map<string, PopLine>()
  /** Under way; they never reject. */
  readonly #settling = new Set<Promise<unknown>>()
  /** Groups whose places in a topic there are, each while one of its lines is. */
  readonly #started = new Map<string, Started>()

  constructor(parts: Parts) {
    this.#parts = parts
    this.#acks = new AckLine(parts.links.brokers, parts.options.requestTimeoutMs)
  }

  async receive(request: ReceiveRequest): Promise<readonly ReceivedMessage[]> {
    check(request)
    const { signal } = request
    signal?.throwIfAborted()
    if (request.startAt === 'last') await this.#startAtEnd(request)
    signal?.throwIfAborted()
    const line = this.#line(request)
    return new Promise((resolve, reject) => {
      const taker: Taker = {
        request,
        endMs: this.#parts.clock.monotonic() + request.waitMs,
        take: (popped) => {
          const messages = this.#taken(request, popped)
          if (messages.length === 0) return line.add(taker)
          stop()
          resolve(messages)
        },
        end: (error) => {
          stop()
          if (error === undefined) resolve([])
          else reject(error)
        },
      }
      const timer = this.#parts.clock.after(request.waitMs, () => {
        // Without a wait the answer is that of one round.
        if (request.waitMs === 0) return
        line.remove(taker)
        taker.end()
      })
      const unheard =
        signal === undefined
          ? () => {}
          : onAbort(signal, () => {
              line.remove(taker)
              taker.end(new BrokerError('ABORTED', 'the receive was called off'))
            })
      const stop = (): void => {
        timer.cancel()
        unheard()
      }
      line.add(taker)
    })
  }

  /** @throws RECEIPT_EXPIRED for one that is not the caller's any more */
  checkHeld(receipts: readonly Receipt[]): void {
    const nowMs = this.#parts.clock.monotonic()
    for (const receipt of receipts) {
      const { handle, endMs } = unsealed(receipt)
      if (handle === undefined || nowMs >= endMs) throw expired()
    }
  }

  ack(receipts: readonly Receipt[]): Promise<readonly SettleResult[]> {
    const isExtending = receipts.some((receipt) => unsealed(receipt).extending !== undefined)
    return isExtending
      ? this.#settleAll(receipts, (receipt, handle) => this.#acks.add(receipt, handle))
      : this.#track(this.#ackAll(receipts))
  }

  /** Without a promise for each: what goes in one request is answered together. */
  async #ackAll(receipts: readonly Receipt[]): Promise<readonly SettleResult[]> {
    const nowMs = this.#parts.clock.monotonic()
    const results: SettleResult[] = []
    const asked = new Map<Promise<void>, { at: number; handle: PopHandle }[]>()
    for (const [at, sealed] of receipts.entries()) {
      const receipt = unsealed(sealed)
      const { handle, endMs } = receipt
      if (handle === undefined || nowMs >= endMs) {
        results.push(expired())
        continue
      }
      receipt.handle = undefined
      results.push(null)
      const sent = this.#acks.add(receipt, handle)
      const together = asked.get(sent)
      if (together === undefined) asked.set(sent, [{ at, handle }])
      else together.push({ at, handle })
    }
    const failed = (thrown: unknown, acks: readonly { at: number; handle: PopHandle }[]): void => {
      for (const { at, handle } of acks) {
        unsealed(receipts[at]!).handle = handle
        results[at] = BrokerError.from(thrown)
      }
    }
    const sending = [...asked].map(([sent, acks]) => sent.catch((error) => failed(error, acks)))
    await Promise.all(sending)
    return results
  }

  nack(receipts: readonly Receipt[], delayMs?: number): Promise<readonly SettleResult[]> {
    const groups = new Map<string, Promise<GroupDefinition>>()
    const groupOf = (name: string): Promise<GroupDefinition> => {
      const asked = groups.get(name) ?? this.#parts.groups.ensure(name)
      groups.set(name, asked)
      return asked
    }
    return this.#settleAll(receipts, async (receipt, handle) => {
      const { retryTimesMax } = await groupOf(receipt.group)
      if (retryTimesMax >= 0 && receipt.attempt > retryTimesMax) {
        return this.#giveUp(receipt, handle)
      }
      const first = receipt.attempt === 1 ? BACK_MS : retryDelayMs(receipt.attempt - 1)
      await this.#change(receipt, handle, delayMs ?? first, false)
    })
  }

  release(receipts: readonly Receipt[]): Promise<readonly SettleResult[]> {
    return this.#settleAll(receipts, (receipt, handle) => this.#release(receipt, handle))
  }

  /** The first was perhaps the cause. */
  async abandon(receipts: readonly Receipt[]): Promise<readonly SettleResult[]> {
    const [first] = receipts
    return this.#settleAll(receipts, async (receipt, handle) => {
      if (receipt !== unsealed(first!)) return this.#release(receipt, handle)
      await this.#change(receipt, handle, BACK_MS, false)
    })
  }

  deadLetter(receipts: readonly Receipt[]): Promise<readonly SettleResult[]> {
    return this.#settleAll(receipts, (receipt, handle) => this.#giveUp(receipt, handle))
  }

  extend(receipts: readonly Receipt[], invisibleMs: number): Promise<readonly SettleResult[]> {
    return this.#eachHeld(receipts, async (receipt, handle) => {
      const changing = this.#change(receipt, handle, invisibleMs, false).then((changed) => {
        receipt.handle = changed
        receipt.endMs = this.#parts.clock.monotonic() + invisibleMs
      })
      receipt.extending = changing
        .catch(() => {})
        .finally(() => {
          receipt.extending = undefined
        })
      await changing
    })
  }

  /**
   * What was popped for takers that had no room for it goes back, and what is being settled is
   * settled: its callers may not wait for that. Never rejects.
   */
  async close(): Promise<void> {
    const closing = [...this.#lines.values()].map((line) => line.close())
    const over = abortController()
    await Promise.race([
      Promise.all(closing),
      sleep(this.#parts.clock, LAST_ANSWERS_MS, over.signal).catch(() => {}),
    ])
    over.abort()
    await Promise.all(this.#settling)
  }

  /** Lines of takers that are remembered. */
  get lines(): number {
    return this.#lines.size
  }

  /** A broker that is asked to begin at the end hands out each queue's last message too. */
  async #startAtEnd({ group, topic }: ReceiveRequest): Promise<void> {
    const key = startKey({ group, topic })
    let started = this.#started.get(key)
    if (started === undefined) {
      started = { group, topic, done: this.#commitEnds(group, topic) }
      if (this.#started.size >= STARTED_MAX) this.#started.clear()
      this.#started.set(key, started)
      const forget = (): void => {
        if (this.#started.get(key) === started) this.#started.delete(key)
      }
      started.done.catch(forget)
    }
    await started.done
  }

  /** With a group, or a topic, its places went. */
  forget(of: { readonly group?: string; readonly topic?: string }): void {
    for (const [key, { group, topic }] of this.#started) {
      if (group === of.group || topic === of.topic) this.#started.delete(key)
    }
  }

  async #commitEnds(group: string, topic: string): Promise<void> {
    const { cursors, topics } = this.#parts
    await Promise.all(
      (await topics.ranges(topic)).map(async (queue) => {
        if ((await cursors.committed(group, queue)) !== undefined) return
        await cursors.commit(group, queue, queue.maxOffset)
      }),
    )
  }

  #line(request: ReceiveRequest): PopLine {
    const key = lineKey(request)
    let line = this.#lines.get(key)
    if (line === undefined) {
      const { links, clock } = this.#parts
      line = new PopLine({
        links,
        clock,
        handBack: (popped) =>
          this.release(popped.map((one) => this.#receiptOf(request, one).sealed)),
        idle: () => {
          this.#lines.delete(key)
          // An operator may move, or delete, what has no consumers.
          this.#started.delete(startKey(request))
        },
      })
      this.#lines.set(key, line)
    }
    return line
  }

  /** Those that are wanted, taken out of `popped`; what no consumer is to get is acknowledged. */
  #taken(request: ReceiveRequest, popped: PoppedRecord[]): ReceivedMessage[] {
    const { filter, maxMessages, maxBytes, group, topic } = request
    const messages: ReceivedMessage[] = []
    const unwanted: Receipt[] = []
    let bytes = 0
    let at = 0
    for (; at < popped.length; at++) {
      const one = popped[at]!
      const { record } = one
      const receipt = this.#receiptOf(request, one)
      if (!selects(filter, record) || isGone(record, this.#parts.clock)) {
        unwanted.push(receipt.sealed)
        continue
      }
      const isFull = messages.length >= maxMessages || bytes + record.size > maxBytes
      if (messages.length > 0 && isFull) break
      bytes += record.size
      messages.push({
        record: record.bytes.subarray(record.start, record.start + record.size),
        brokerName: one.handle.brokerName,
        receipt: receipt.sealed,
        attempt: receipt.attempt,
        note: undefined,
      })
    }
    popped.splice(0, at)
    if (unwanted.length > 0) void this.ack(unwanted)
    this.#parts.given(group, topic, messages.length)
    return messages
  }

  #receiptOf({ group, topic }: ReceiveRequest, { record, handle, retries }: PoppedRecord) {
    const { position } = record
    const messageId = record.property(PROPERTY.uniqueKey) ?? ''
    const attempt = record.reconsumeTimes + 1 + retries
    // From when the POP was asked for at the latest.
    const endMs = this.#parts.clock.monotonic() + handle.invisibleTime
    return new PopReceipt({ group, topic, position, messageId, attempt }, handle, endMs)
  }

  #settleAll(
    receipts: readonly Receipt[],
    settle: (receipt: PopReceipt, handle: PopHandle) => Promise<void>,
  ): Promise<readonly SettleResult[]> {
    return this.#eachHeld(receipts, async (receipt, handle) => {
      receipt.handle = undefined
      try {
        await settle(receipt, handle)
      } catch (thrown) {
        const error = BrokerError.from(thrown)
        if (error.code !== 'RECEIPT_EXPIRED') receipt.handle = handle
        throw error
      }
    })
  }

  #eachHeld(
    receipts: readonly Receipt[],
    act: (receipt: PopReceipt, handle: PopHandle) => Promise<void>,
  ): Promise<readonly SettleResult[]> {
    const settling = Promise.all(
      receipts.map(async (sealed) => {
        const receipt = unsealed(sealed)
        while (receipt.extending !== undefined) await receipt.extending
        const { handle, endMs } = receipt
        if (handle === undefined || this.#parts.clock.monotonic() >= endMs) return expired()
        try {
          await act(receipt, handle)
          return null
        } catch (error) {
          return BrokerError.from(error)
        }
      }),
    )
    return this.#track(settling)
  }

  #track<T>(settling: Promise<T>): Promise<T> {
    this.#settling.add(settling)
    void settling.finally(() => this.#settling.delete(settling))
    return settling
  }

  async #release(receipt: PopReceipt, handle: PopHandle): Promise<void> {
    await this.#change(receipt, handle, BACK_MS, true)
  }

  /** No broker of RocketMQ moves what was popped to the dead letters by itself. */
  async #giveUp(receipt: PopReceipt, handle: PopHandle): Promise<void> {
    const limits = this.#limits
    await this.#parts.groups.ensureDeadLetters(receipt.group)
    const connection = await this.#parts.links.brokers.connection(handle.brokerName, limits)
    const fields = {
      group: receipt.group,
      offset: receipt.position,
      delayLevel: DEAD_LETTER,
      originMsgId: receipt.messageId,
      originTopic: receipt.topic,
      unitMode: false,
      maxReconsumeTimes: 0,
    }
    await sendBack(connection, fields, limits)
    await this.#acks.add(receipt, handle)
  }

  /** @throws RECEIPT_EXPIRED */
  async #change(
    { group, topic }: PopReceipt,
    handle: PopHandle,
    invisibleMs: number,
    isSuspended: boolean,
  ): Promise<PopHandle> {
    const limits = { ...this.#limits, isSuspended }
    const connection = await this.#parts.links.brokers.connection(handle.brokerName, limits)
    const of = { group, topic, handle }
    const changed = await changeInvisibleTime(connection, of, invisibleMs, limits)
    if (changed === undefined) throw expired()
    return changed
  }

  get #limits(): { timeoutMs: number } {
    return { timeoutMs: this.#parts.options.requestTimeoutMs }
  }
}

interface Started {
  readonly group: string
  readonly topic: string
  readonly done: Promise<void>
}

const startKey = ({ group, topic }: Pick<Started, 'group' | 'topic'>): string =>
  JSON.stringify([group, topic])

/** Requests alike: what one is handed the other may be. */
const lineKey = (request: ReceiveRequest): string => {
  const { group, topic, queueId, brokerName, filter, ordered, invisibleMs, startAt } = request
  return JSON.stringify([
    group,
    topic,
    queueId,
    brokerName,
    filter.kind,
    filter.expression,
    ordered,
    invisibleMs,
    startAt,
  ])
}

/** @throws ARGUMENT_INVALID, NAME_INVALID, NOT_SUPPORTED */
function check({ topic, group, maxMessages, invisibleMs, leavesRest }: ReceiveRequest): void {
  if (isLightQueue(topic)) {
    throw new BrokerError('NOT_SUPPORTED', 'a cluster of RocketMQ has no light queues')
  }
  if (leavesRest) throw leavesNothing()
  checkTopicName(topic)
  checkGroupName(group)
  if (!(maxMessages >= 1)) throw invalid('maxMessages', maxMessages)
  if (!(invisibleMs >= 1)) throw invalid('invisibleMs', invisibleMs)
}

const invalid = (name: string, value: number): BrokerError =>
  new BrokerError('ARGUMENT_INVALID', `${name} is ${value}; a number from 1 on is due`)

const expired = (): BrokerError =>
  new BrokerError('RECEIPT_EXPIRED', 'the message is settled, or its invisible time is over')
