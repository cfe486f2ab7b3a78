// Takes new messages: has them checked and completed (drafter.ts), and hands a whole batch to the
// store in one append.
import { type Clock, nextTurn } from '../../clock.ts'
import { BrokerError, isUnconfirmed, Unconfirmed } from '../../errors.ts'
import type { NewMessage, PublishReceipt, PublishResult } from '../../model/message.ts'
import { encodeRecords } from '../../model/record.ts'
import type { StateChange } from '../../model/state.ts'
import type { Counter, Numbers } from '../../numbers/numbers.ts'
import type {
  Appended,
  AppendGroup,
  Fact,
  MessageStore,
  RecordFact,
  StoreDraft,
} from '../../store/store.ts'
import type { GroupTable } from '../definitions/groups.ts'
import type { LightQueueTable } from '../definitions/light-queues.ts'
import type { BrokerPermission } from '../definitions/permission.ts'
import type { Topic, TopicTable } from '../definitions/topics.ts'
import { Riding } from '../facts/riding.ts'
import type { StagedChange, StateTable } from '../facts/states.ts'
import { APPEND_BYTES_TARGET, type BrokerOptions } from '../options.ts'
import type { DispatchBudget } from './dispatch-budget.ts'
import { Dispatches } from './dispatches.ts'
import { type Batch, Drafter, emptyBatch } from './drafter.ts'
import type { DueTimer } from './due-timer.ts'
import { DEAD_LETTERS, RETRIES, STORED } from './numbers.ts'
import type { QueueLockTable } from './queue-locks.ts'

/** Messages of one batch that are checked in one turn of the event loop. */
export const CHECKED_AT_ONCE_MAX = 4096

/** The rest of an append, beside new messages. */
export interface AppendedToo {
  readonly drafts: readonly StoreDraft[]
  readonly facts: readonly Fact[]
}

/** Messages that one append is to have. */
export interface Drafted {
  readonly batch: Batch
  /** The topics as they were found, of messages that were drafted in earlier turns. */
  readonly known: ReadonlyMap<string, Topic | undefined> | undefined
}

interface Parts {
  readonly store: MessageStore
  readonly topics: TopicTable
  readonly permission: BrokerPermission
  readonly groups: GroupTable
  readonly lightQueues: LightQueueTable
  readonly dueTimer: DueTimer
  readonly dispatchBudget: DispatchBudget
  readonly locks: QueueLockTable
  readonly states: StateTable
  readonly clock: Clock
  readonly options: BrokerOptions
  readonly numbers: Numbers
}

export class Publisher {
  readonly #parts: Parts
  readonly #drafter: Drafter
  readonly #dispatches: Dispatches
  readonly #stored: Counter
  readonly #retries: Counter
  readonly #deadLetters: Counter

  constructor(parts: Parts) {
    this.#parts = parts
    this.#dispatches = new Dispatches(parts.lightQueues, parts.dispatchBudget)
    this.#drafter = new Drafter({
      ...parts,
      storeHost: parts.store.storeHost,
      dispatches: this.#dispatches,
    })
    this.#stored = parts.numbers.counter(STORED)
    this.#retries = parts.numbers.counter(RETRIES)
    this.#deadLetters = parts.numbers.counter(DEAD_LETTERS)
  }

  /**
   * Everything is handed to the store within the call, so the order of calls is the order in the
   * queues. A batch may take several appends; the state that a message changes goes with its own,
   * the state that belongs to all of them with each.
   */
  publish(
    messages: readonly NewMessage[],
    changes?: readonly StateChange[],
  ): Promise<readonly PublishResult[]> {
    if (changes === undefined) return this.#publish(messages, undefined)
    return this.#publishWith(messages, changes)
  }

  /** Runs on to the appends within the call, as an async function does up to its first wait. */
  async #publishWith(
    messages: readonly NewMessage[],
    changes: readonly StateChange[],
  ): Promise<readonly PublishResult[]> {
    return this.#publish(messages, new Riding(changes, this.#parts.states))
  }

  #publish(
    messages: readonly NewMessage[],
    riding: Riding | undefined,
  ): Promise<readonly PublishResult[]> {
    const results = new Array<PublishResult>(messages.length)
    const appends: Promise<void>[] = []
    let batch = emptyBatch(riding)
    this.#drafter.startBatch()
    for (let i = 0; i < messages.length; i++) {
      const draft = this.#drafter.draft(messages[i]!, batch)
      if (draft instanceof BrokerError) {
        results[i] = draft
        continue
      }
      riding?.board(i, batch.drafts.length, batch.changes!)
      batch.drafts.push(draft)
      batch.slots.push(i)
      batch.bytes += draft.body.length + draft.properties.length
      if (batch.bytes < APPEND_BYTES_TARGET) continue
      appends.push(this.#append(batch, results))
      batch = emptyBatch(riding)
    }
    if (batch.drafts.length > 0) appends.push(this.#append(batch, results))
    else if (appends.length === 0 && batch.changes !== undefined) {
      appends.push(this.#appendChanges(batch.changes))
    }
    if (appends.length === 1) return appends[0]!.then(() => results)
    return Promise.all(appends).then(() => results)
  }

  /**
   * Messages of one topic, to one queue, in one append. A large batch is checked and encoded over
   * several turns of the event loop, then appended in one and answered in another; a small one is
   * appended within the call.
   */
  async publishTogether(messages: readonly NewMessage[]): Promise<readonly PublishReceipt[]> {
    const batch = emptyBatch(undefined, true)
    const topicName = messages[0]!.topic
    const isLarge = messages.length > CHECKED_AT_ONCE_MAX
    let topic: Topic | undefined
    for (let from = 0; from < messages.length; from += CHECKED_AT_ONCE_MAX) {
      const drafts = this.#draftTogether(messages, from, batch)
      topic ??= this.#parts.topics.find(topicName)
      // A record that is parked is not written as it is drafted.
      const isEncoded = isLarge && !batch.hasParked
      for (const draft of isEncoded ? encodeRecords(drafts) : drafts) batch.drafts.push(draft)
      if (isLarge) await nextTurn()
    }
    if (this.#parts.topics.find(topicName) !== topic) throw topicGone(topicName)
    const results = new Array<PublishResult>(messages.length)
    await this.#append(batch, results)
    const [first] = results
    if (first instanceof Unconfirmed) throw new Unconfirmed(first, results.map(receiptOf))
    if (first instanceof BrokerError) throw first
    return results as PublishReceipt[]
  }

  /** As many of them as one turn checks. @throws BrokerError */
  #draftTogether(messages: readonly NewMessage[], from: number, batch: Batch): StoreDraft[] {
    const drafts: StoreDraft[] = []
    const to = Math.min(messages.length, from + CHECKED_AT_ONCE_MAX)
    this.#drafter.startBatch()
    for (let i = from; i < to; i++) {
      const message = messages[i]!
      const queueId = (batch.drafts[0] ?? drafts[0] ?? message).queueId
      const draft = this.#drafter.draft(
        queueId === message.queueId ? message : { ...message, queueId },
        batch,
      )
      if (draft instanceof BrokerError) throw nothingStored(i, messages.length, draft)
      drafts.push(draft)
      batch.slots.push(i)
    }
    return drafts
  }

  /**
   * All of the messages, of any topics, and with them what else there is, in one append, or none of
   * it. It is handed to the store within the call.
   */
  async publishAll(
    messages: readonly NewMessage[],
    also?: AppendedToo,
  ): Promise<readonly PublishReceipt[]> {
    return this.appendDrafted(this.#draftedNow(messages), also)
  }

  /** Very many messages for `appendDrafted`: checked and encoded over several turns. */
  async draftInTurns(messages: readonly NewMessage[]): Promise<Drafted> {
    const { topics } = this.#parts
    const batch = emptyBatch(undefined)
    const known = new Map<string, Topic | undefined>()
    for (let from = 0; from < messages.length; from += CHECKED_AT_ONCE_MAX) {
      if (from > 0) await nextTurn()
      const part = messages.slice(from, from + CHECKED_AT_ONCE_MAX)
      const drafts = this.#draftedPart(part, from, messages.length, batch)
      for (const { topic } of part) if (!known.has(topic)) known.set(topic, topics.find(topic))
      for (const draft of batch.hasParked ? drafts : encodeRecords(drafts)) batch.drafts.push(draft)
    }
    await nextTurn()
    return { batch, known }
  }

  #draftedNow(messages: readonly NewMessage[]): Drafted {
    const batch = emptyBatch(undefined)
    const drafts = this.#draftedPart(messages, 0, messages.length, batch)
    for (const draft of drafts) batch.drafts.push(draft)
    return { batch, known: undefined }
  }

  /** Those from `from` on of a transaction of `count`. @throws BrokerError */
  #draftedPart(
    messages: readonly NewMessage[],
    from: number,
    count: number,
    batch: Batch,
  ): StoreDraft[] {
    const drafts: StoreDraft[] = []
    this.#drafter.startBatch()
    for (const [i, message] of messages.entries()) {
      const draft = this.#drafter.draft(message, batch)
      if (draft instanceof BrokerError) throw nothingStored(from + i, count, draft)
      drafts.push(draft)
      batch.slots.push(from + i)
    }
    return drafts
  }

  /** As `publishAll`. @throws BrokerError TOPIC_NOT_FOUND for a topic that went in between */
  async appendDrafted(
    { batch, known }: Drafted,
    also?: AppendedToo,
  ): Promise<readonly PublishReceipt[]> {
    for (const [name, topic] of known ?? []) {
      if (this.#parts.topics.find(name) !== topic) throw topicGone(name)
    }
    const results = new Array<PublishReceipt>(batch.slots.length)
    await this.#appendOrThrow(batch, results, also)
    return results
  }

  /** No message was taken. */
  async #appendChanges(changes: readonly StagedChange[]): Promise<void> {
    try {
      await this.#parts.store.append({ messages: [], facts: changes.map(({ fact }) => fact) })
    } catch (error) {
      const isThere = isUnconfirmed(BrokerError.from(error))
      for (const change of changes) isThere ? change.written() : change.refused()
      throw error
    }
    for (const change of changes) change.written()
  }

  /** An error is the result of each message. */
  #append(batch: Batch, results: PublishResult[]): Promise<void> {
    const { slots } = batch
    return this.#handOver(batch, results, undefined, (thrown) => {
      const error = BrokerError.from(thrown)
      for (const slot of slots) results[slot] = error
    })
  }

  #appendOrThrow(batch: Batch, results: PublishResult[], also?: AppendedToo): Promise<void> {
    return this.#handOver(batch, results, also, (thrown) => {
      throw thrown
    })
  }

  /** What waits for the sync holds on to none of the messages: they are encoded within the call. */
  #handOver(
    batch: Batch,
    results: PublishResult[],
    also: AppendedToo | undefined,
    refused: (thrown: unknown) => void,
  ): Promise<void> {
    const { drafts, slots, changes } = batch
    const queueIds = drafts.map(({ queueId }) => queueId)
    const appending = this.#parts.store.append(this.#groupOf(batch, also))
    const isLarge = batch.isTogether && slots.length > CHECKED_AT_ONCE_MAX
    const append = isLarge ? inTurnOfItsOwn(appending) : appending
    return (batch.dispatches === 0 ? append : this.#dispatches.done(batch, append)).then(
      (appended) => this.#done(batch, queueIds, appended, results),
      (thrown: unknown) => {
        if (!(thrown instanceof Unconfirmed)) {
          for (const change of changes ?? []) change.refused()
          refused(thrown)
          return
        }
        // It is there, whatever its sender is told.
        const stored = [...results]
        this.#done(batch, queueIds, thrown.done as readonly Appended[], stored)
        refused(thrown)
        for (const slot of slots) {
          results[slot] = new Unconfirmed(thrown, stored[slot] as PublishReceipt)
        }
      },
    )
  }

  #done(
    batch: Batch,
    queueIds: readonly number[],
    appended: readonly Appended[],
    results: PublishResult[],
  ): void {
    const { slots, unsaved, changes, hasParked, handles, halves, retries, deadLetters } = batch
    const { storeHost } = this.#parts.store
    const { brokerName } = this.#parts.options
    for (let i = 0; i < slots.length; i++) {
      const { queueOffset, position } = appended[i]!
      const queueId = queueIds[i]!
      const transactionId = halves?.get(i)
      results[slots[i]!] =
        transactionId === undefined
          ? { brokerName, queueId, queueOffset, position, storeHost }
          : { brokerName, queueId, queueOffset, position, storeHost, transactionId }
    }
    handles?.forEach((recallHandle, i) => {
      results[slots[i]!] = { ...(results[slots[i]!] as PublishReceipt), recallHandle }
    })
    this.#stored.value += slots.length
    this.#retries.value += retries
    this.#deadLetters.value += deadLetters
    for (const topic of unsaved ?? []) topic.isSaved = true
    for (const change of changes ?? []) change.written()
    if (hasParked) this.#parts.dueTimer.arm()
  }

  #groupOf(batch: Batch, also: AppendedToo | undefined): AppendGroup {
    const { drafts, unsaved, changes } = batch
    if (also !== undefined) {
      const facts = [...this.#factsOf(batch), ...also.facts]
      // What only settles goes into the room that is kept for that while the disk is full.
      return { messages: [...drafts, ...also.drafts], facts, isNew: drafts.length > 0 }
    }
    if (unsaved === undefined && changes === undefined) return { messages: drafts }
    return { messages: drafts, facts: this.#factsOf(batch), isNew: true }
  }

  #factsOf({ unsaved, changes }: Batch): (Fact | RecordFact)[] {
    const facts: (Fact | RecordFact)[] = this.#parts.topics.unsaved(unsaved ?? [])
    for (const { fact } of changes ?? []) facts.push(fact)
    return facts
  }
}

async function inTurnOfItsOwn<T>(work: Promise<T>): Promise<T> {
  const result = await work
  await nextTurn()
  return result
}

const receiptOf = (result: PublishResult): PublishReceipt =>
  result instanceof Unconfirmed ? result.done : (result as PublishReceipt)

const nothingStored = (index: number, count: number, { code, message, retryable }: BrokerError) =>
  new BrokerError(
    code,
    `nothing of the batch was stored, for message ${index + 1} of its ${count} is refused: ${message}`,
    { retryable },
  )

const topicGone = (topic: string): BrokerError =>
  new BrokerError(
    'TOPIC_NOT_FOUND',
    `the topic '${topic}' was deleted while its batch was checked, and nothing of it was stored; send it again`,
  )
