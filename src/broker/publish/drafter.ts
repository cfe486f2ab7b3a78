// Makes a record of a new message: checks it in RocketMQ's order (remoting 4.1), chooses its queue
// and completes its properties. The common message passes without an allocation but its draft.
import type { Clock } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import { withExpiry } from '../../model/expiry.ts'
import type { Host } from '../../model/host.ts'
import { PROPERTIES_BYTES_MAX } from '../../model/limits.ts'
import type { NewMessage } from '../../model/message.ts'
import { encodeRecallHandle } from '../../model/message-id.ts'
import { SCAN, SPECIAL, scanProperties } from '../../model/message-scan.ts'
import { checkTopicName, groupOfTopic, isRetryTopic } from '../../model/names.ts'
import { OwnProperties } from '../../model/own-properties.ts'
import {
  asBuffer,
  BROKER_PROPERTIES,
  decodeProperties,
  editProperties,
  PROPERTY,
  RETRY_PROPERTIES,
  valueEnd,
  valueStart,
  withoutProperties,
} from '../../model/properties.ts'
import { SYS_FLAG, type WrittenProperty } from '../../model/record.ts'
import { PERM_WRITE, queueOfKey } from '../../model/topic.ts'
import type { StoreDraft, StoreMessage } from '../../store/store.ts'
import type { GroupTable } from '../definitions/groups.ts'
import type { BrokerPermission } from '../definitions/permission.ts'
import { checkSendable, noSuchBroker, type Topic, type TopicTable } from '../definitions/topics.ts'
import type { Riding } from '../facts/riding.ts'
import type { StagedChange } from '../facts/states.ts'
import {
  type BrokerOptions,
  HALF_PROPERTIES_BYTES,
  PARKED_PROPERTIES_BYTES,
  PROPERTIES_ACCEPTED_BYTES_MAX,
} from '../options.ts'
import { DELAY_PROPERTIES, deliveryTime, withKnownLevel } from './delay.ts'
import type { Dispatches, Dispatching } from './dispatches.ts'
import { halfDraft, isPrepared } from './halves.ts'
import { mqttProperties } from './mqtt-name.ts'
import { prioritised } from './priority.ts'
import { queueInTurn } from './queue-choice.ts'
import type { QueueLockTable } from './queue-locks.ts'
import { UniqueIds } from './unique-ids.ts'

/** Messages of one append; `slots` are their places in the caller's batch. */
export interface Batch extends Dispatching {
  readonly drafts: StoreMessage[]
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
  /** When its first half message was taken. */
  nowMs: number | undefined
  /** Properties scanned last, and what was found: all messages of an MQTT topic have one array. */
  scanned: Uint8Array | undefined
  found: number
}

export const emptyBatch = (riding: Riding | undefined, isTogether = false): Batch => ({
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
  nowMs: undefined,
  scanned: undefined,
  found: 0,
  dispatches: 0,
  queues: undefined,
})

interface Parts {
  readonly storeHost: Host
  readonly topics: TopicTable
  readonly permission: BrokerPermission
  readonly groups: GroupTable
  readonly locks: QueueLockTable
  readonly dispatches: Dispatches
  readonly clock: Clock
  readonly options: BrokerOptions
}

export class Drafter {
  readonly #parts: Parts
  readonly #ids: UniqueIds
  readonly #own: OwnProperties

  constructor(parts: Parts) {
    this.#parts = parts
    this.#ids = new UniqueIds(parts.clock, parts.storeHost)
    this.#own = new OwnProperties(parts.options.clusterName)
  }

  /** The messages that follow get their ids of this moment. */
  startBatch(): void {
    this.#ids.startBatch()
  }

  /** What the message needs beside its record is noted in the batch. */
  draft(message: NewMessage, batch: Batch): StoreDraft | BrokerError {
    const { permission } = this.#parts
    // What consumers hand back goes on, so that they finish what the broker has.
    if (!permission.isWritable && !isRetryTopic(message.topic)) return permission.notWritable
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
    const found = given === batch.scanned ? batch.found : scanProperties(given)
    batch.scanned = given
    batch.found = found
    const isForeign = (found & SCAN.brokers) !== 0 && message.ownProperties !== true
    let properties = isForeign ? this.#sendersOwn(message.topic, given) : given
    let uniqueKey: WrittenProperty | undefined
    if ((found & SCAN.uniqueKey) === 0) {
      const isUnclosed = !isForeign && (found & SCAN.unclosed) !== 0
      if (isUnclosed || (found & (SCAN.delayed | SCAN.prepared)) !== 0)
        properties = this.#ids.append(properties, isUnclosed)
      else uniqueKey = this.#ids
    }
    if (!topic.isSaved) {
      batch.unsaved ??= new Set()
      batch.unsaved.add(topic)
    }
    const own = this.#own.behind(properties, PROPERTIES_BYTES_MAX - (uniqueKey?.length ?? 0))
    const isLeftOut = message.ownProperties === true && own !== undefined && (found & SPECIAL) === 0
    const draft = {
      topic: definition.name,
      queueId,
      flag: message.flag,
      sysFlag: isLeftOut ? message.sysFlag | SYS_FLAG.ownProperties : message.sysFlag,
      bornTimestamp: message.bornTimestamp,
      bornHost: message.bornHost,
      reconsumeTimes: message.reconsumeTimes,
      preparedPosition: 0,
      body,
      properties,
      uniqueKey,
      brokerProperties: isLeftOut ? undefined : own,
      dueMs: undefined,
      dueKind: undefined,
      rounds: undefined,
    }
    return (found & SPECIAL) === 0 ? draft : this.#special(draft, found, batch)
  }

  #special(draft: StoreDraft, found: number, batch: Batch): StoreDraft | BrokerError {
    try {
      if ((found & SCAN.dispatched) !== 0) this.#parts.dispatches.note(draft, batch)
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

  #addHandle(topic: string, messageId: string | undefined, dueMs: number, batch: Batch): void {
    const { recall, brokerName } = this.#parts.options
    if (!recall || messageId === undefined || batch.isTogether || isRetryTopic(topic)) return
    batch.handles ??= new Map()
    const handle = encodeRecallHandle({ topic, brokerName, dueMs, messageId })
    batch.handles.set(batch.drafts.length, handle)
  }

  /** @throws MESSAGE_INVALID, MESSAGE_TOO_LARGE */
  #delayed(draft: StoreDraft, batch: Batch): StoreDraft {
    const { clock, options } = this.#parts
    const all = decodeProperties(draft.properties)
    const dueMs = deliveryTime(all, clock.now(), options.delayMsMax)
    if (dueMs === undefined) return draft
    const room = PROPERTIES_BYTES_MAX - PARKED_PROPERTIES_BYTES - draft.topic.length
    if (draft.properties.length > room) throw propertiesTooLarge(draft.properties, room)
    batch.hasParked = true
    const properties = withKnownLevel(draft.properties, all)
    this.#addHandle(draft.topic, all.get(PROPERTY.uniqueKey), dueMs, batch)
    return { ...draft, properties, brokerProperties: this.#own.behind(properties, room), dueMs }
  }

  /** @throws MESSAGE_INVALID, MESSAGE_TOO_LARGE */
  #half(draft: StoreDraft, found: number, batch: Batch): StoreDraft {
    if (batch.isTogether) throw halfInBatch()
    const { properties, topic } = draft
    const idAt = valueStart(properties, PROPERTY.uniqueKey, 0, properties.length)
    const idEnd = idAt === -1 ? -1 : valueEnd(properties, idAt, properties.length)
    // The committed message has it twice.
    const idBytes = idEnd - idAt
    const room = PROPERTIES_BYTES_MAX - HALF_PROPERTIES_BYTES - topic.length - idBytes
    if (properties.length > room) throw propertiesTooLarge(properties, room)
    const { clock, options } = this.#parts
    const own = this.#own.behind(properties, room)
    batch.nowMs ??= clock.now()
    const half = halfDraft(draft, own, found, batch.nowMs, options)
    batch.hasParked = true
    batch.halves ??= new Map()
    const id = idAt === -1 ? '' : asBuffer(properties).utf8Slice(idAt, idEnd)
    batch.halves.set(batch.drafts.length, id)
    return half
  }

  /** A sender's properties without those that only a broker writes. */
  #sendersOwn(topic: string, properties: Uint8Array): Uint8Array {
    if (isRetryTopic(topic)) {
      return withoutProperties(properties, BROKER_PROPERTIES, RETRY_PROPERTIES)
    }
    const { topics } = this.#parts
    const named = mqttProperties(topic, properties, (name) => topics.find(name) !== undefined)
    const own = withoutProperties(properties, BROKER_PROPERTIES)
    return named === undefined ? own : Buffer.concat([own, named])
  }
}

const halfInBatch = (): BrokerError =>
  new BrokerError(
    'MESSAGE_INVALID',
    'half messages are not sent in batches: each is a transaction of its own',
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
