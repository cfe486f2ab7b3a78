// Takes new messages: checks them in RocketMQ's order (remoting 4.1), completes them and hands a
// whole batch to the store in one append. The common message passes without an allocation but its
// draft.
import type { Clock } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import { withExpiry } from '../../model/expiry.ts'
import { PROPERTIES_BYTES_MAX } from '../../model/limits.ts'
import type { NewMessage, PublishReceipt, PublishResult } from '../../model/message.ts'
import { encodeRecallHandle } from '../../model/message-id.ts'
import { checkTopicName, groupOfTopic, isRetryTopic } from '../../model/names.ts'
import { queueOfKey } from '../../model/ordering-key.ts'
import {
  BROKER_PROPERTIES,
  decodeProperties,
  editProperties,
  findProperty,
  PROPERTY,
  RETRY_PROPERTIES,
  withoutProperties,
} from '../../model/properties.ts'
import { SYS_FLAG, type WrittenProperty } from '../../model/record.ts'
import type { StateChange } from '../../model/state.ts'
import { PERM_WRITE } from '../../model/topic.ts'
import type { Counter, Numbers } from '../../numbers/numbers.ts'
import type { AppendGroup, Fact, MessageStore, RecordFact, StoreDraft } from '../../store/store.ts'
import type { GroupTable } from '../definitions/groups.ts'
import { checkSendable, noSuchBroker, type Topic, type TopicTable } from '../definitions/topics.ts'
import { Riding } from '../facts/riding.ts'
import type { StagedChange, StateTable } from '../facts/states.ts'
import {
  APPEND_BYTES_TARGET,
  type BrokerOptions,
  HALF_PROPERTIES_BYTES,
  PARKED_PROPERTIES_BYTES,
  PROPERTIES_ACCEPTED_BYTES_MAX,
} from '../options.ts'
import { DELAY_PROPERTIES, deliveryTime, withKnownLevel } from './delay.ts'
import type { DueTimer } from './due-timer.ts'
import { halfDraft, isPrepared } from './halves.ts'
import { SCAN, SPECIAL, scanProperties } from './message-scan.ts'
import { DEAD_LETTERS, RETRIES, STORED } from './numbers.ts'
import { OwnProperties } from './own-properties.ts'
import { prioritised } from './priority.ts'
import { queueInTurn } from './queue-choice.ts'
import type { QueueLockTable } from './queue-locks.ts'
import { UniqueIds } from './unique-ids.ts'

/** Messages of one batch that are checked in one turn of the event loop. */
const CHECKED_AT_ONCE_MAX = 4096

/** Messages of one append; `slots` are their places in the caller's batch. */
interface Batch {
  readonly drafts: StoreDraft[]
  readonly slots: number[]
  bytes: number
  /** Topics whose definitions must become durable with these messages. */
  unsaved: Set<Topic> | undefined
  /** State that changes with these messages. */
  changes: StagedChange[] | undefined
  /** All of them go to one queue. */
  readonly isTogether: boolean
  hasParked: boolean
  /** By its place in `drafts`: how a delayed message may be taken back. */
  handles: Map<number, string> | undefined
  /** Messages that a consumer sends to its retry topic, and those of them that go to the dead. */
  retries: number
  deadLetters: number
  /** Ids of transactions by the index of their half message. */
  halves: Map<number, string> | undefined
}

/** The rest of an append, beside new messages. */
export interface AppendedToo {
  readonly drafts: readonly StoreDraft[]
  readonly facts: readonly Fact[]
}

interface Parts {
  readonly store: MessageStore
  readonly topics: TopicTable
  readonly groups: GroupTable
  readonly dueTimer: DueTimer
  readonly locks: QueueLockTable
  readonly states: StateTable
  readonly clock: Clock
  readonly options: BrokerOptions
  readonly numbers: Numbers
}

export class Publisher {
  readonly #parts: Parts
  readonly #ids: UniqueIds
  readonly #own: OwnProperties
  readonly #stored: Counter
  readonly #retries: Counter
  readonly #deadLetters: Counter

  constructor(parts: Parts) {
    this.#parts = parts
    this.#ids = new UniqueIds(parts.clock, parts.store.storeHost)
    this.#own = new OwnProperties(parts.options.clusterName)
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
    this.#ids.startBatch()
    for (let i = 0; i < messages.length; i++) {
      const draft = this.#draft(messages[i]!, batch)
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
   * Messages of one topic, to one queue, in one append. A large batch is checked over several turns
   * of the event loop and appended in the last of them; a small one within the call.
   */
  async publishTogether(messages: readonly NewMessage[]): Promise<readonly PublishReceipt[]> {
    const batch = emptyBatch(undefined, true)
    const topicName = messages[0]!.topic
    let topic: Topic | undefined
    for (const [i, message] of messages.entries()) {
      if (i % CHECKED_AT_ONCE_MAX === 0) {
        if (i > 0) await new Promise((resolve) => setImmediate(resolve))
        this.#ids.startBatch()
      }
      const queueId = batch.drafts[0]?.queueId ?? message.queueId
      const draft = this.#draft(
        queueId === message.queueId ? message : { ...message, queueId },
        batch,
      )
      if (draft instanceof BrokerError) throw nothingStored(i, messages.length, draft)
      topic ??= this.#parts.topics.find(topicName)
      batch.drafts.push(draft)
      batch.slots.push(i)
    }
    if (this.#parts.topics.find(topicName) !== topic) throw topicGone(topicName)
    const results = new Array<PublishResult>(messages.length)
    await this.#append(batch, results)
    const [first] = results
    if (first instanceof BrokerError) throw first
    return results as PublishReceipt[]
  }

  /**
   * All of the messages, of any topics, and with them what else there is, in one append, or none of
   * it. It is handed to the store within the call.
   */
  async publishAll(
    messages: readonly NewMessage[],
    also?: AppendedToo,
  ): Promise<readonly PublishReceipt[]> {
    const batch = emptyBatch(undefined)
    this.#ids.startBatch()
    for (const [i, message] of messages.entries()) {
      const draft = this.#draft(message, batch)
      if (draft instanceof BrokerError) throw nothingStored(i, messages.length, draft)
      batch.drafts.push(draft)
      batch.slots.push(i)
    }
    const results = new Array<PublishReceipt>(messages.length)
    await this.#appendOrThrow(batch, results, also)
    return results
  }

  /** No message was taken. */
  async #appendChanges(changes: readonly StagedChange[]): Promise<void> {
    try {
      await this.#parts.store.append({ messages: [], facts: changes.map(({ fact }) => fact) })
    } catch (error) {
      for (const change of changes) change.refused()
      throw error
    }
    for (const change of changes) change.written()
  }

  #append(batch: Batch, results: PublishResult[]): Promise<void> {
    return this.#appendOrThrow(batch, results).catch((thrown: unknown) => {
      const error = BrokerError.from(thrown)
      for (const slot of batch.slots) results[slot] = error
    })
  }

  #appendOrThrow(batch: Batch, results: PublishResult[], also?: AppendedToo): Promise<void> {
    const { drafts, slots, unsaved, changes, hasParked, handles, halves, retries, deadLetters } =
      batch
    // All of the drafts that waits for the sync: they are encoded within the call.
    const queueIds = drafts.map(({ queueId }) => queueId)
    return this.#parts.store.append(this.#groupOf(batch, also)).then(
      (appended) => {
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
      },
      (thrown: unknown) => {
        for (const change of changes ?? []) change.refused()
        throw thrown
      },
    )
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

  #draft(message: NewMessage, batch: Batch): StoreDraft | BrokerError {
    const topic = this.#parts.topics.find(message.topic)
    if (topic === undefined || topic.isBuiltIn || isRetryTopic(message.topic)) {
      return this.#rareDraft(message, topic, batch)
    }
    return this.#draftFor(message, topic, message.properties, batch)
  }

  /**
   * System topics, topics that do not exist yet, and what a consumer sends to its retry topic
   * itself.
   */
  #rareDraft(
    message: NewMessage,
    known: Topic | undefined,
    batch: Batch,
  ): StoreDraft | BrokerError {
    try {
      if (known === undefined) checkTopicName(message.topic)
      checkSendable(message.topic)
      if (isRetryTopic(message.topic)) return this.#retryDraft(message, batch)
      const { createTopic, createQueues } = message
      const topic =
        known ??
        (createTopic
          ? this.#parts.topics.findOrStage(message.topic, createQueues)
          : this.#parts.topics.need(message.topic))
      return this.#draftFor(message, topic, message.properties, batch)
    } catch (thrown) {
      return BrokerError.from(thrown)
    }
  }

  /**
   * Beyond the last attempt the message goes to the dead letters instead (remoting 4.1). An orderly
   * consumer, one that locks its queues, retries in place and sends only what it gives up.
   */
  #retryDraft(message: NewMessage, batch: Batch): StoreDraft | BrokerError {
    const name = groupOfTopic(message.topic)
    const group = this.#parts.groups.need(name)
    const max = message.retryTimesMax ?? group.retryTimesMax
    if (message.reconsumeTimes <= max && !this.#parts.locks.isLocking(name)) {
      batch.retries++
      return this.#draftFor(message, this.#parts.groups.retryTopic(name), message.properties, batch)
    }
    batch.deadLetters++
    const properties = editProperties(message.properties, [], DELAY_PROPERTIES)
    const dead = this.#parts.groups.deadLetterTopic(name)
    return this.#draftFor({ ...message, queueId: 0 }, dead, properties, batch)
  }

  #draftFor(
    message: NewMessage,
    topic: Topic,
    given: Uint8Array,
    batch: Batch,
  ): StoreDraft | BrokerError {
    const { definition } = topic
    const { body, orderingKey } = message
    let { queueId } = message
    if ((definition.perm & PERM_WRITE) === 0) return notWritable(definition.name)
    const { brokerName = this.#parts.options.brokerName } = message
    if (brokerName !== this.#parts.options.brokerName) return noSuchBroker(brokerName)
    if (queueId >= definition.writeQueues) {
      if (queueId >= definition.readQueues) return noSuchQueue(message, definition.writeQueues)
    } else if (queueId < 0) {
      queueId =
        orderingKey === undefined
          ? queueInTurn(topic)
          : queueOfKey(orderingKey, definition.writeQueues)
    }
    if (body.length > this.#parts.options.bodyBytesMax)
      return bodyTooLarge(body, this.#parts.options)
    if (given.length > PROPERTIES_ACCEPTED_BYTES_MAX) {
      return propertiesTooLarge(given, PROPERTIES_ACCEPTED_BYTES_MAX)
    }
    const found = scanProperties(given)
    const isForeign = (found & SCAN.brokers) !== 0 && message.ownProperties !== true
    let properties = isForeign ? sendersOwn(message.topic, given) : given
    let uniqueKey: WrittenProperty | undefined
    if ((found & SCAN.uniqueKey) === 0) {
      const isUnclosed = !isForeign && (found & SCAN.unclosed) !== 0
      if (isUnclosed || (found & (SCAN.delayed | SCAN.prepared)) !== 0)
        properties = this.#ids.append(properties, isUnclosed)
      else uniqueKey = this.#ids.next()
    }
    if (!topic.isSaved) {
      batch.unsaved ??= new Set()
      batch.unsaved.add(topic)
    }
    const draft = {
      topic: definition.name,
      queueId,
      flag: message.flag,
      sysFlag: message.sysFlag,
      bornTimestamp: message.bornTimestamp,
      bornHost: message.bornHost,
      reconsumeTimes: message.reconsumeTimes,
      preparedPosition: 0,
      body,
      properties,
      uniqueKey,
      brokerProperties: this.#own.behind(
        properties,
        PROPERTIES_BYTES_MAX - (uniqueKey?.length ?? 0),
      ),
      dueMs: undefined,
      dueKind: undefined,
      rounds: undefined,
    }
    return (found & SPECIAL) === 0 ? draft : this.#special(draft, found, batch)
  }

  #special(draft: StoreDraft, found: number, batch: Batch): StoreDraft | BrokerError {
    try {
      // A copy for a retry topic has the properties of its message.
      const isHalf =
        (found & SCAN.prepared) !== 0 && !isRetryTopic(draft.topic) && isPrepared(draft.properties)
      const ranked = this.#prioritised(draft, isHalf ? found | SCAN.delayed : found, batch)
      const placed = this.#expiring(ranked, found)
      if (isHalf) return this.#half(placed, found, batch)
      return (found & SCAN.delayed) === 0 ? placed : this.#delayed(placed, batch)
    } catch (thrown) {
      return BrokerError.from(thrown)
    }
  }

  #prioritised(draft: StoreDraft, found: number, { isTogether }: Batch): StoreDraft {
    if ((found & SCAN.priority) === 0 || isTogether) return draft
    const { writeQueues } = this.#parts.topics.need(draft.topic).definition
    const isDelayed = (found & SCAN.delayed) !== 0
    const placed = prioritised(draft.properties, draft.queueId, writeQueues, isDelayed)
    return { ...this.#with(placed.properties, draft), queueId: placed.queueId }
  }

  /** @throws MESSAGE_INVALID */
  #expiring(draft: StoreDraft, found: number): StoreDraft {
    if ((found & SCAN.expires) === 0) return draft
    const properties = withExpiry(draft.properties, this.#parts.clock.now())
    return { ...this.#with(properties, draft), sysFlag: draft.sysFlag | SYS_FLAG.expires }
  }

  #with(properties: Uint8Array, draft: StoreDraft): StoreDraft {
    const room = PROPERTIES_BYTES_MAX - (draft.uniqueKey?.length ?? 0)
    return { ...draft, properties, brokerProperties: this.#own.behind(properties, room) }
  }

  #addHandle({ topic, properties }: StoreDraft, dueMs: number, batch: Batch): void {
    const { recall, brokerName } = this.#parts.options
    const messageId = decodeProperties(properties).get(PROPERTY.uniqueKey)
    if (!recall || messageId === undefined || batch.isTogether || isRetryTopic(topic)) return
    batch.handles ??= new Map()
    const handle = encodeRecallHandle({ topic, brokerName, dueMs, messageId })
    batch.handles.set(batch.drafts.length, handle)
  }

  /** @throws MESSAGE_INVALID, MESSAGE_TOO_LARGE */
  #delayed(draft: StoreDraft, batch: Batch): StoreDraft {
    const { clock, options } = this.#parts
    const dueMs = deliveryTime(draft.properties, clock.now(), options.delayMsMax)
    if (dueMs === undefined) return draft
    const room = PROPERTIES_BYTES_MAX - PARKED_PROPERTIES_BYTES - draft.topic.length
    if (draft.properties.length > room) throw propertiesTooLarge(draft.properties, room)
    batch.hasParked = true
    const properties = withKnownLevel(draft.properties)
    this.#addHandle({ ...draft, properties }, dueMs, batch)
    return { ...draft, properties, brokerProperties: this.#own.behind(properties, room), dueMs }
  }

  /** @throws MESSAGE_INVALID, MESSAGE_TOO_LARGE */
  #half(draft: StoreDraft, found: number, batch: Batch): StoreDraft {
    if (batch.isTogether) throw halfInBatch()
    const { properties, topic } = draft
    const id = findProperty(properties, PROPERTY.uniqueKey)!
    // The committed message has it twice.
    const idBytes = Buffer.byteLength(id)
    const room = PROPERTIES_BYTES_MAX - HALF_PROPERTIES_BYTES - topic.length - idBytes
    if (properties.length > room) throw propertiesTooLarge(properties, room)
    const { clock, options } = this.#parts
    const own = this.#own.behind(properties, room)
    const half = halfDraft(draft, own, found, clock.now(), options)
    batch.hasParked = true
    batch.halves ??= new Map()
    batch.halves.set(batch.drafts.length, id)
    return half
  }
}

const halfInBatch = (): BrokerError =>
  new BrokerError(
    'MESSAGE_INVALID',
    'half messages are not sent in batches: each is a transaction of its own',
  )

const emptyBatch = (riding: Riding | undefined, isTogether = false): Batch => ({
  drafts: [],
  slots: [],
  bytes: 0,
  unsaved: undefined,
  changes: riding?.start(),
  isTogether,
  hasParked: false,
  handles: undefined,
  retries: 0,
  deadLetters: 0,
  halves: undefined,
})

/** A sender's properties without those that only a broker writes. */
const sendersOwn = (topic: string, properties: Uint8Array): Buffer =>
  isRetryTopic(topic)
    ? withoutProperties(properties, BROKER_PROPERTIES, RETRY_PROPERTIES)
    : withoutProperties(properties, BROKER_PROPERTIES)

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

const notWritable = (topic: string): BrokerError =>
  new BrokerError('PERMISSION_DENIED', `the topic '${topic}' is not writable`)

const noSuchQueue = (message: NewMessage, queues: number): BrokerError =>
  new BrokerError(
    'QUEUE_NOT_FOUND',
    `the topic '${message.topic}' has no queue ${message.queueId}; its queues are 0 to ${queues - 1}`,
  )

const bodyTooLarge = (body: Uint8Array, options: BrokerOptions): BrokerError =>
  new BrokerError(
    'MESSAGE_TOO_LARGE',
    `a body of ${body.length} bytes is too large; broker.bodyBytesMax is ${options.bodyBytesMax}`,
  )

const propertiesTooLarge = (properties: Uint8Array, bytesMax: number): BrokerError =>
  new BrokerError(
    'MESSAGE_TOO_LARGE',
    `properties of ${properties.length} bytes are too large; ${bytesMax} are possible`,
  )
