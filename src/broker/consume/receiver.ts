// Receiving per message: which consumer holds which message, until when, and how it is settled.
// Acknowledgements are kept at once and durable soon after; failures count as attempts and lead to
// the retry topic and in the end to the dead letters.
import { BrokerError } from '../../errors.ts'
import {
  ANY_QUEUE,
  type HandBack,
  type Receipt,
  type ReceivedMessage,
  type Settlement,
  type SettleResult,
} from '../../model/message.ts'
import { isLightQueue } from '../../model/names.ts'
import { checkReadable, type TopicDefinition } from '../../model/topic.ts'
import type { GivenCounts } from '../../numbers/given-counts.ts'
import type { Numbers } from '../../numbers/numbers.ts'
import type { GroupTable } from '../definitions/groups.ts'
import type { AppendedToo } from '../publish/publisher.ts'
import type { HandoutRequest } from './handout.ts'
import { Expiry } from './held/expiry.ts'
import type { GroupQueue } from './held/group-queue.ts'
import { type OpenReceipt, openReceipt } from './held/receipt.ts'
import type { Entry } from './held/unsettled.ts'
import type { Held } from './joint-settlement.ts'
import { EXPIRED, READ, READS_FOUND } from './numbers.ts'
import type { QueueLanes } from './queue-lanes.ts'
import { ReceivingGroup, type ReceivingParts } from './receiving-group.ts'
import { Serials } from './serials.ts'
import { Settling } from './settling.ts'

type Settle = (held: Held) => SettleResult | Promise<SettleResult>

export class Receiver {
  readonly #parts: ReceivingParts
  readonly #groups: GroupTable
  readonly #settling: Settling
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
      this.#settling.expired(group, queue, entry),
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
    this.#settling = new Settling(parts)
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
    this.#parts.permission.checkReadable()
    if (isLightQueue(topic)) this.#parts.lightQueues.need(topic)
    else checkQueue(topics.need(topic).definition, request.queueId)
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
    return this.#answer(receipts, (held) => this.#settling.failed(held, delayMs, handBack))
  }

  release(receipts: readonly Receipt[], handBack: HandBack = {}): Promise<readonly SettleResult[]> {
    return this.#each(receipts, (held) => this.#settling.released(held, handBack))
  }

  /**
   * The messages that one consumer held when it was lost, in the order in which they were handed
   * out. It can have worked on the first alone, so only that counts as an attempt.
   */
  abandon(receipts: readonly Receipt[]): Promise<readonly SettleResult[]> {
    let suspect: Entry | undefined
    return this.#each(receipts, (held) => {
      suspect ??= held.entry.holder?.suspect ?? held.entry
      const isSuspect = held.entry === suspect
      return isSuspect ? this.#settling.countInPlace(held) : this.#settling.makeReady(held)
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
    return this.#answer(receipts, (held) => this.#settling.move(held, { deadBecause: reason }))
  }

  /**
   * All of them in the one append that `append` makes, or none.
   * @throws RECEIPT_EXPIRED, and what `append` throws
   */
  settleTogether<T>(
    settlements: readonly Settlement[],
    append: (also: AppendedToo) => Promise<T>,
  ): Promise<T> {
    const find = (): Held[] =>
      settlements.map(({ receipt: sealed }) => {
        const receipt = openReceipt(sealed)
        const held = this.#find(receipt)
        if (held === undefined) throw expiredReceipt(receipt)
        return held
      })
    return this.#settling.together(settlements, find, append)
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

  #find({ group: name, topic, queueId, queueOffset, serial }: OpenReceipt): Held | undefined {
    const group = this.#receiving.get(name)
    const queue = group?.queue(topic, queueId)
    const entry = queue?.held(queueOffset, serial)
    if (group === undefined || queue === undefined || entry === undefined) return undefined
    return { group, queue, entry }
  }

  /**
   * A consumer settles messages that it worked on. Also a late settlement shows that the consumer
   * goes on.
   */
  #answer(receipts: readonly Receipt[], settle: Settle): Promise<readonly SettleResult[]> {
    return this.#each(receipts, settle, true)
  }

  async #each(
    receipts: readonly Receipt[],
    settle: Settle,
    isAnswer = false,
  ): Promise<readonly SettleResult[]> {
    const results = receipts.map((sealed) => {
      const receipt = openReceipt(sealed)
      const held = this.#find(receipt)
      if (held === undefined) {
        const { group, topic, queueId, queueOffset } = receipt
        if (isAnswer) this.#receiving.get(group)?.queue(topic, queueId)?.answeredLate(queueOffset)
        return expiredReceipt(receipt)
      }
      if (isAnswer) clearSuspicion(held)
      return settle(held)
    })
    return Promise.all(results)
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

function checkQueue(definition: TopicDefinition, queueId: number): void {
  checkReadable(definition)
  const { name, readQueues } = definition
  if (queueId === ANY_QUEUE || (queueId >= 0 && queueId < readQueues)) return
  throw new BrokerError(
    'QUEUE_NOT_FOUND',
    `the topic '${name}' has no queue ${queueId}; its queues are 0 to ${readQueues - 1}`,
  )
}

const expiredReceipt = (receipt: OpenReceipt): BrokerError =>
  new BrokerError(
    'RECEIPT_EXPIRED',
    `the delivery of '${receipt.topic}' queue ${receipt.queueId} offset ${receipt.queueOffset} is no longer yours: ` +
      'it was settled, released, or its invisible time is over',
  )
