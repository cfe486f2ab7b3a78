// Receiving per message: which consumer holds which message, until when, and how it is settled.
// Acknowledgements are kept at once and durable soon after; failures count as attempts and lead to
// the retry topic and in the end to the dead letters.
import { BrokerError } from '../../errors.ts'
import { retryDelayMs } from '../../model/delay-levels.ts'
import {
  ANY_QUEUE,
  type HandBack,
  type Receipt,
  type ReceivedMessage,
  type Settlement,
  type SettleResult,
  type Verdict,
} from '../../model/message.ts'
import { isLightQueue } from '../../model/names.ts'
import { PERM_READ, type TopicDefinition } from '../../model/topic.ts'
import type { Numbers } from '../../numbers/numbers.ts'
import type { GroupTable } from '../definitions/groups.ts'
import type { AppendedToo } from '../publish/publisher.ts'
import { Expiry } from './expiry.ts'
import type { GivenCounts } from './given-counts.ts'
import type { GroupQueue } from './group-queue.ts'
import type { HandoutRequest } from './handout.ts'
import { type Held, JointSettlement, type Step } from './joint-settlement.ts'
import { EXPIRED, READ, READS_FOUND } from './numbers.ts'
import type { QueueLanes } from './queue-lanes.ts'
import { type OpenReceipt, openReceipt } from './receipt.ts'
import { ReceivingGroup, type ReceivingParts } from './receiving-group.ts'
import { exhausted, type Retries, type RetryDestination } from './retries.ts'
import { Serials } from './serials.ts'
import type { Entry } from './unsettled.ts'

/** How long an ordered message waits in place for its next attempt (RocketMQ's suspend time). */
const ORDERED_RETRY_MS = 1000

type Settle = (held: Held) => SettleResult | Promise<SettleResult>

export class Receiver {
  readonly #parts: ReceivingParts
  readonly #groups: GroupTable
  readonly #retries: Retries
  readonly #lanes: QueueLanes
  readonly #receiving = new Map<string, ReceivingGroup>()
  #isClosed = false

  constructor(
    parts: Omit<ReceivingParts, 'expiry' | 'serials' | 'counts' | 'onTopic'> & {
      readonly groups: GroupTable
      readonly lanes: QueueLanes
      readonly numbers: Numbers
      readonly givenCounts: GivenCounts
    },
  ) {
    const expiry = new Expiry<ReceivingGroup>(parts.clock, (group, queue, entry) =>
      this.#expired(group, queue, entry),
    )
    const serials = new Serials()
    const { numbers } = parts
    const counts = {
      messages: numbers.counter(READ),
      found: numbers.counter(READS_FOUND),
      given: parts.givenCounts,
      expired: numbers.counter(EXPIRED),
      waiting: 0,
    }
    this.#parts = { ...parts, expiry, serials, counts, onTopic: new Map() }
    this.#groups = parts.groups
    this.#retries = parts.retries
    this.#lanes = parts.lanes
  }

  async receive(request: HandoutRequest): Promise<readonly ReceivedMessage[]> {
    const { topic, group, filter, startAt } = request
    const { topics } = this.#parts
    checkCounts(request)
    if (!this.#groups.isSaved(group)) await this.#groups.ensure(group)
    if (!isLightQueue(topic) && topics.find(topic) === undefined) await topics.ensure(topic)
    // From here on nothing waits, so that what is checked holds.
    if (!this.#groups.need(group).consumeEnabled) {
      throw new BrokerError('PERMISSION_DENIED', `the group '${group}' is not allowed to consume`)
    }
    if (isLightQueue(topic)) this.#parts.lightQueues.need(topic)
    else checkReadable(topics.need(topic).definition, request.queueId)
    this.#parts.mixed.receiving(request)
    if (this.#isClosed) return []
    return this.#group(group).line(topic, filter, startAt).receive(request)
  }

  /** Settled at once; durable with the group's cursor within its flush time. */
  ack(receipts: readonly Receipt[]): SettleResult[] {
    const results = new Array<SettleResult>(receipts.length)
    const touched = new Map<GroupQueue, ReceivingGroup>()
    let group: ReceivingGroup | undefined
    let queue: GroupQueue | undefined
    for (let i = 0; i < receipts.length; i++) {
      const receipt = openReceipt(receipts[i]!)
      const { topic, queueId } = receipt
      // Receipts of one delivery stand together: look the queue up only when it changes.
      if (
        queue === undefined ||
        queue.cursor.queueId !== queueId ||
        queue.cursor.topic !== topic ||
        queue.cursor.group !== receipt.group
      ) {
        group = this.#receiving.get(receipt.group)
        queue = group?.queue(topic, queueId)
        if (group !== undefined && queue !== undefined) touched.set(queue, group)
      }
      const isAcked = queue?.ack(receipt.queueOffset, receipt.serial) === true
      if (!isAcked) queue?.answeredLate(receipt.queueOffset)
      results[i] = isAcked ? null : expiredReceipt(receipt)
    }
    for (const [acked, of] of touched) {
      of.moved(acked)
      // An ordered queue, or one with its hands full, can go on.
      of.wakeFor(acked.cursor.topic)
    }
    return results
  }

  nack(
    receipts: readonly Receipt[],
    delayMs?: number,
    handBack: HandBack = {},
  ): Promise<readonly SettleResult[]> {
    return this.#answer(receipts, (held) => this.#failed(held, delayMs, handBack))
  }

  release(receipts: readonly Receipt[], handBack: HandBack = {}): Promise<readonly SettleResult[]> {
    return this.#each(receipts, (held) => {
      // One more that this consumer does not want than can be set aside is a failure like any
      // other.
      const isKept = take(held, handBack)
      return isKept ? this.#makeReady(held) : this.#failed(held, undefined, NOTHING_MORE)
    })
  }

  /**
   * The messages that one consumer held when it was lost, in the order in which they were handed
   * out. It can have worked on the first alone, so only that counts as an attempt.
   */
  abandon(receipts: readonly Receipt[]): Promise<readonly SettleResult[]> {
    let suspect: Entry | undefined
    return this.#each(receipts, (held) => {
      suspect ??= held.entry.holder?.suspect ?? held.entry
      return held.entry === suspect ? this.#countInPlace(held) : this.#makeReady(held)
    })
  }

  extend(receipts: readonly Receipt[], invisibleMs: number): Promise<readonly SettleResult[]> {
    const deadlineMs = this.#parts.clock.monotonic() + invisibleMs
    return this.#each(receipts, ({ group, queue, entry }) => {
      queue.extend(entry, deadlineMs)
      group.expects(queue)
      return null
    })
  }

  deadLetter(receipts: readonly Receipt[], reason: string): Promise<readonly SettleResult[]> {
    return this.#answer(receipts, (held) => this.#move(held, { deadBecause: reason }))
  }

  /**
   * All of them in the one append that `append` makes, or none.
   * @throws RECEIPT_EXPIRED, and what `append` throws
   */
  async settleTogether<T>(
    settlements: readonly Settlement[],
    append: (also: AppendedToo) => Promise<T>,
  ): Promise<T> {
    const find = (): Held[] => settlements.map(({ receipt }) => this.#need(receipt))
    const found = find()
    if (new Set(found.map(({ entry }) => entry)).size < found.length) throw settledTwice()
    return this.#lanes.run(new Set(found.map(({ queue }) => queue)), async () => {
      const undoings = found.map(keptAsItIs)
      try {
        const steps: Step[] = []
        for (const [i, { verdict }] of settlements.entries()) {
          const step = this.#stepOf(found[i]!, verdict)
          steps.push(step instanceof Promise ? await step : step)
        }
        // From here to the append nothing waits, so that what is found now holds.
        find()
        return await new JointSettlement(steps, this.#parts.topics, this.#retries).run(append)
      } catch (error) {
        for (const undo of undoings) undo()
        throw error
      }
    })
  }

  #stepOf(held: Held, verdict: Verdict): Step | Promise<Step> {
    switch (verdict.kind) {
      case 'ack':
        return { leaves: true, held, copy: undefined }
      case 'deadLetter':
        return this.#leaving(held, { deadBecause: verdict.reason })
      case 'release':
        if (!take(held, verdict.handBack ?? {})) return this.#failing(held, undefined, false)
        return { leaves: false, held, isCounted: false, stay: () => this.#makeReady(held) }
      case 'nack': {
        const { delayMs, handBack = {} } = verdict
        const isSetAside = take(held, handBack) && handBack.isNotHere === true
        return this.#failing(held, delayMs, isSetAside)
      }
    }
  }

  #failing(held: Held, delayMs: number | undefined, isSetAside: boolean): Step | Promise<Step> {
    const next = this.#afterFailure(held, delayMs, isSetAside)
    if (typeof next === 'object') return this.#leaving(held, next)
    return { leaves: false, held, isCounted: true, stay: () => this.#stay(held, next) }
  }

  async #leaving(held: Held, destination: RetryDestination): Promise<Step> {
    const copy = await this.#retries.copyOf(held.queue, held.entry, destination)
    if (!(copy instanceof BrokerError)) return { leaves: true, held, copy }
    if (copy.code !== 'MESSAGE_TOO_LARGE' || 'deadBecause' in destination) throw copy
    // Without room for what a retry adds it waits in its place.
    const { delayMs } = destination
    return { leaves: false, held, isCounted: true, stay: () => this.#stay(held, delayMs) }
  }

  /** @throws RECEIPT_EXPIRED */
  #need(sealed: Receipt): Held {
    const receipt = openReceipt(sealed)
    const group = this.#receiving.get(receipt.group)
    const queue = group?.queue(receipt.topic, receipt.queueId)
    const entry = queue?.held(receipt.queueOffset, receipt.serial)
    if (group === undefined || queue === undefined || entry === undefined) {
      throw expiredReceipt(receipt)
    }
    return { group, queue, entry }
  }

  /** undefined while nothing was received for it. */
  receiving(group: string): ReceivingGroup | undefined {
    return this.#receiving.get(group)
  }

  isBusy(group: string): boolean {
    return this.#receiving.get(group)?.isBusy === true
  }

  inFlight(group: string, topic: string, queueId: number): number {
    return this.#receiving.get(group)?.queue(topic, queueId)?.inFlight ?? 0
  }

  /** Receives that wait for a message. */
  get heldCount(): number {
    return this.#parts.counts.waiting
  }

  /**
   * The topic's count of queues may have changed. Each new group makes a topic, so that the groups
   * that are not on it have no part in it.
   */
  refresh(topic: string): void {
    for (const group of this.#parts.onTopic.get(topic) ?? []) group.refresh(topic)
  }

  /** The group's place on the topic moved. */
  wake(group: string, topic: string): void {
    this.#receiving.get(group)?.wakeFor(topic)
  }

  dropTopic(topic: string): void {
    for (const group of this.#receiving.values()) {
      group.closeLine(topic)
      group.drop(topic)
    }
  }

  dropGroup(name: string): void {
    const group = this.#receiving.get(name)
    if (group === undefined) return
    this.#receiving.delete(name)
    const error = new BrokerError('GROUP_NOT_FOUND', `the consumer group '${name}' was deleted`)
    for (const line of group.lines()) line.close(error)
    group.close()
  }

  /** The queues whose messages are handed out, or with consumers. */
  openQueues(group: string): Iterable<GroupQueue> {
    return this.#receiving.get(group)?.openQueues() ?? []
  }

  /** Is the queue open, or any? */
  isOpen(group: string, topic?: string, queueId = 0): boolean {
    if (topic !== undefined) return this.#receiving.get(group)?.queue(topic, queueId) !== undefined
    for (const _ of this.openQueues(group)) return true
    return false
  }

  /** The queues that native members have left. */
  take(group: string): void {
    this.#receiving.get(group)?.take()
  }

  /** The group has no native members any more. */
  takeAll(group: string): void {
    this.#receiving.get(group)?.keep()
  }

  /** Native members get the queue when the group's consumers have settled what they hold of it. */
  letGo(group: string, topic: string, queueId: number): void {
    this.#receiving.get(group)?.letGo(topic, queueId)
  }

  letGoAll(group: string, isWanted: (topic: string) => boolean): void {
    this.#receiving.get(group)?.letGoAll(isWanted)
  }

  endOverdue(group: string): void {
    this.#receiving.get(group)?.endOverdue()
  }

  /** Members that share by queue took over: what was in flight here is theirs to read again. */
  retire(name: string): void {
    const group = this.#receiving.get(name)
    if (group === undefined || group.isBusy) return
    this.#receiving.delete(name)
    group.close()
  }

  /** Waiting receives come back empty-handed. */
  close(): void {
    this.#isClosed = true
    this.#parts.expiry.close()
    for (const group of this.#receiving.values()) for (const line of group.lines()) line.close()
  }

  #group(name: string): ReceivingGroup {
    let group = this.#receiving.get(name)
    if (group === undefined) {
      group = new ReceivingGroup(name, this.#parts)
      this.#receiving.set(name, group)
    }
    return group
  }

  /**
   * A consumer settles messages that it worked on. Also a late settlement shows that the consumer
   * goes on.
   */
  #answer(receipts: readonly Receipt[], settle: Settle): Promise<readonly SettleResult[]> {
    return this.#each(
      receipts,
      (held) => {
        clearSuspicion(held)
        return settle(held)
      },
      (queue, { queueOffset }) => queue.answeredLate(queueOffset),
    )
  }

  async #each(
    receipts: readonly Receipt[],
    settle: Settle,
    late: (queue: GroupQueue, receipt: OpenReceipt) => void = () => {},
  ): Promise<readonly SettleResult[]> {
    const results = receipts.map((sealed) => {
      const receipt = openReceipt(sealed)
      const group = this.#receiving.get(receipt.group)
      const queue = group?.queue(receipt.topic, receipt.queueId)
      const entry = queue?.held(receipt.queueOffset, receipt.serial)
      if (group === undefined || queue === undefined || entry === undefined) {
        if (queue !== undefined) late(queue, receipt)
        return expiredReceipt(receipt)
      }
      return settle({ group, queue, entry })
    })
    return Promise.all(results)
  }

  /** A consumer says no. The first time the message comes again at once, in its place. */
  #failed(
    held: Held,
    delayMs: number | undefined,
    handBack: HandBack,
  ): SettleResult | Promise<SettleResult> {
    const isSetAside = take(held, handBack) && handBack.isNotHere === true
    const next = this.#afterFailure(held, delayMs, isSetAside)
    if (typeof next === 'object') return this.#move(held, next)
    held.entry.attempts++
    held.group.moved(held.queue)
    return this.#stay(held, next)
  }

  /** Where the message goes, or after how many ms it comes again in its place. */
  #afterFailure(
    { group, entry }: Held,
    delayMs: number | undefined,
    isSetAside: boolean,
  ): RetryDestination | number {
    const failed = entry.reconsumeTimes + entry.attempts + 1
    const max = this.#retryTimesMax(group)
    if (failed > max) return { deadBecause: exhausted(max) }
    if (delayMs === undefined && (isSetAside || failed === 1)) return 0
    if (!entry.isOrdered && !isSetAside) return { delayMs: delayMs ?? retryDelayMs(failed - 2) }
    return delayMs ?? ORDERED_RETRY_MS
  }

  /** Available again in its place, at once or after so many ms. */
  #stay(held: Held, afterMs: number): SettleResult {
    if (afterMs === 0) return this.#makeReady(held)
    const { group, queue, entry } = held
    queue.park(entry, this.#parts.clock.monotonic() + afterMs)
    group.expects(queue)
    group.leftSome()
    return null
  }

  /** Available again at once, in its place. */
  #makeReady({ group, queue, entry }: Held): SettleResult {
    queue.makeReady(entry)
    group.wakeFor(queue.cursor.topic)
    return null
  }

  /** A failed attempt, and available again at once. */
  #countInPlace(held: Held): SettleResult | Promise<SettleResult> {
    const { group, queue, entry } = held
    const max = this.#retryTimesMax(group)
    if (entry.reconsumeTimes + entry.attempts + 1 > max) {
      return this.#move(held, { deadBecause: exhausted(max) })
    }
    entry.attempts++
    group.moved(queue)
    return this.#makeReady(held)
  }

  async #move({ group, queue, entry }: Held, destination: RetryDestination): Promise<SettleResult> {
    const result = await this.#retries.move(queue, entry, destination)
    // Stayed or gone, the queue may have a new deadline or room for more.
    group.expects(queue)
    group.wakeFor(queue.cursor.topic)
    return result
  }

  /** Of what its consumer has, only that which it was handed first can be what keeps it busy. */
  #expired(group: ReceivingGroup, queue: GroupQueue, entry: Entry): void {
    const held = { group, queue, entry }
    if (entry.poppedAt > 0 && entry.serial !== 0) {
      this.#popExpired(held)
      return
    }
    const holder = entry.serial === 0 ? undefined : entry.holder
    if (holder !== undefined) holder.suspect ??= group.firstHeldBy(holder)
    // The receipt is void, so no answer is waited for.
    entry.serial = 0
    if (holder?.suspect === entry) void this.#countInPlace(held)
    else this.#makeReady(held)
  }

  /** Each message counts by itself: how its consumer works on them is not known. */
  #popExpired(held: Held): void {
    // Its name is void, so no answer is waited for.
    held.entry.serial = 0
    if (held.entry.isSuspended) this.#makeReady(held)
    else void this.#failed(held, 0, NOTHING_MORE)
  }

  #retryTimesMax(group: ReceivingGroup): number {
    return this.#groups.need(group.name).retryTimesMax
  }
}

const NOTHING_MORE: HandBack = {}

/**
 * Keeps the note that comes back with the message. False when it should be set aside and there is
 * no room for it.
 */
function take({ queue, entry }: Held, { isNotHere, note }: HandBack): boolean {
  if (note !== undefined) entry.note = note
  return isNotHere !== true || entry.holder === undefined || queue.keepFrom(entry, entry.holder.id)
}

/** Takes back what `take` does to a message, while that is still with its consumer. */
function keptAsItIs({ queue, entry }: Held): () => void {
  const { serial, note } = entry
  const notFor = entry.notFor && [...entry.notFor]
  return () => {
    if (queue.held(entry.offset, serial) === undefined) return
    entry.note = note
    entry.notFor = notFor
  }
}

/** The consumer goes on: what it was handed next may be what it fails at. */
function clearSuspicion({ entry }: Held): void {
  if (entry.holder !== undefined) entry.holder.suspect = undefined
}

function checkCounts({ maxMessages, invisibleMs }: HandoutRequest): void {
  if (maxMessages >= 1 && invisibleMs > 0) return
  throw new BrokerError(
    'ARGUMENT_INVALID',
    `a receive of ${maxMessages} messages for ${invisibleMs} ms; 1 message and 1 ms are the least`,
  )
}

function checkReadable({ name, perm, readQueues }: TopicDefinition, queueId: number): void {
  if ((perm & PERM_READ) === 0) {
    throw new BrokerError('PERMISSION_DENIED', `the topic '${name}' is not readable`)
  }
  if (queueId === ANY_QUEUE || (queueId >= 0 && queueId < readQueues)) return
  throw new BrokerError(
    'QUEUE_NOT_FOUND',
    `the topic '${name}' has no queue ${queueId}; its queues are 0 to ${readQueues - 1}`,
  )
}

const settledTwice = (): BrokerError =>
  new BrokerError('RECEIPT_EXPIRED', 'one delivery is settled twice in one call')

const expiredReceipt = (receipt: OpenReceipt): BrokerError =>
  new BrokerError(
    'RECEIPT_EXPIRED',
    `the delivery of '${receipt.topic}' queue ${receipt.queueId} offset ${receipt.queueOffset} is no longer yours: ` +
      'it was settled, released, or its invisible time is over',
  )
