// Where failed messages go: a copy to the group's retry topic after a delay, or to its dead
// letters. The copy and the settlement of the original are one append, so a crash leaves either
// both or neither. One append at a time and queue, for each carries the whole place of the group on
// that queue.
import type { Clock } from '../../clock.ts'
import { BrokerError, isUnconfirmed } from '../../errors.ts'
import { DELAY_LEVEL_MAX, delayLevelMs, retryLevel } from '../../model/delay-levels.ts'
import { PROPERTIES_BYTES_MAX } from '../../model/limits.ts'
import type { SendBack, SettleResult } from '../../model/message.ts'
import { offsetMessageId } from '../../model/message-id.ts'
import { isRetryTopic, retryTopic } from '../../model/names.ts'
import { editProperties, PROPERTY } from '../../model/properties.ts'
import { draftOf, RecordView, SYS_FLAG } from '../../model/record.ts'
import { originalTopic } from '../../model/routing-name.ts'
import type { Counter, Numbers } from '../../numbers/numbers.ts'
import type { Fact, MessageStore, StoreDraft } from '../../store/store.ts'
import type { GroupTable } from '../definitions/groups.ts'
import type { Topic, TopicTable } from '../definitions/topics.ts'
import type { FactWriter } from '../facts/fact-writer.ts'
import { APPEND_BYTES_TARGET, PARKED_PROPERTIES_BYTES } from '../options.ts'
import type { DueTimer } from '../publish/due-timer.ts'
import { DEAD_LETTERS, RETRIES } from '../publish/numbers.ts'
import { queueInTurn } from '../publish/queue-choice.ts'
import type { GroupQueue } from './held/group-queue.ts'
import { ENTRY_STATE, type Entry } from './held/unsettled.ts'
import { readMessage } from './lookup.ts'
import type { QueueLanes } from './queue-lanes.ts'

/** To the retry topic, or with a reason to the dead letters. */
export type RetryDestination =
  | {
      readonly delayMs: number
      /** RocketMQ's delay level, where the delay has one. */
      readonly level?: number
    }
  | { readonly deadBecause: string }

interface Leaving {
  readonly entry: Entry
  /** Of the delivery that failed, 0 when its time was over. */
  readonly serial: number
  readonly destination: RetryDestination
  readonly settle: (result: SettleResult) => void
}

/** A copy that is to be written, to a topic whose definition may have to be as well. */
export interface Copy {
  readonly draft: StoreDraft
  readonly topic: Topic
}

interface Departure {
  readonly leaving: Leaving
  /** undefined: retention took the record, there is only the settlement to write. */
  readonly copy: Copy | undefined
}

/** How the message came to the consumer that failed. */
interface Received {
  /** The topic of the receive; undefined when the message was pulled. */
  readonly from: string | undefined
  readonly note: string | undefined
  /** Epoch ms, when it was by POP; else 0. */
  readonly poppedAt: number
}

const NOT_RECEIVED: Received = { from: undefined, note: undefined, poppedAt: 0 }

const LEAVING_AT_ONCE_MAX = 256
const DEAD_REASON_CHARS_MAX = 256
/** A message that could not leave because the store takes nothing is tried again after this. */
const STUCK_MS = 10_000

/** Where the message waited before does not hold for the copy. */
const COPY_DROPS: ReadonlySet<string> = new Set([
  PROPERTY.dueMs,
  PROPERTY.realTopic,
  PROPERTY.realQueueId,
  PROPERTY.deadLetterReason,
])

/** The properties that a copy leaves out when there is no room for all. */
const DISPENSABLE: ReadonlySet<string> = new Set([
  ...COPY_DROPS,
  PROPERTY.cluster,
  PROPERTY.messageRegion,
  PROPERTY.traceOn,
])

/** A dead letter is kept as long as the log: it is what is looked at after all is over. */
const DEAD_DROPS: ReadonlySet<string> = new Set([
  ...COPY_DROPS,
  PROPERTY.receivedFrom,
  PROPERTY.expiresMs,
])

interface Parts {
  readonly store: MessageStore
  readonly topics: TopicTable
  readonly groups: GroupTable
  readonly facts: FactWriter
  readonly dueTimer: DueTimer
  readonly clock: Clock
  readonly numbers: Numbers
  readonly lanes: QueueLanes
}

export class Retries {
  readonly #parts: Parts
  readonly #retried: Counter
  readonly #deadLetters: Counter
  readonly #outboxes = new Map<GroupQueue, Leaving[]>()
  readonly #running = new Set<Promise<void>>()

  constructor(parts: Parts) {
    this.#parts = parts
    this.#retried = parts.numbers.counter(RETRIES)
    this.#deadLetters = parts.numbers.counter(DEAD_LETTERS)
  }

  /** Settles when the copy is durable. On an error the message stays with its consumer. */
  move(queue: GroupQueue, entry: Entry, destination: RetryDestination): Promise<SettleResult> {
    const { serial } = entry
    queue.leave(entry)
    return new Promise((settle) => {
      const leaving = { entry, serial, destination, settle }
      const outbox = this.#outboxes.get(queue)
      if (outbox !== undefined) {
        outbox.push(leaving)
        return
      }
      this.#outboxes.set(queue, [leaving])
      const run = this.#parts.lanes
        .run(new Set([queue]), () => this.#empty(queue))
        .finally(() => this.#running.delete(run))
      this.#running.add(run)
    })
  }

  /** CONSUMER_SEND_MSG_BACK: the same copy, while the caller keeps its own offset. */
  async sendBack(request: SendBack): Promise<void> {
    const { position, delayLevel } = request
    const group = await this.#parts.groups.ensure(request.group)
    const bytes = await readMessage(this.#parts.store, position)
    if (bytes === undefined) {
      throw new BrokerError('MESSAGE_NOT_FOUND', `no message starts at log position ${position}`)
    }
    const record = new RecordView(bytes)
    const max = request.retryTimesMax ?? group.retryTimesMax
    const failed = record.reconsumeTimes + 1
    const destination =
      delayLevel < 0
        ? { deadBecause: 'the consumer gave it up' }
        : failed > max
          ? { deadBecause: exhausted(max) }
          : atLevel(delayLevel > 0 ? delayLevel : retryLevel(failed - 1))
    const { draft, topic } = this.#copyOrDeadLetter(record, request.group, failed, destination)
    try {
      const facts = this.#parts.topics.unsaved([topic])
      await this.#parts.store.append({ messages: [draft], facts })
    } catch (thrown) {
      if (isUnconfirmed(BrokerError.from(thrown))) this.written([{ draft, topic }])
      throw thrown
    }
    this.written([{ draft, topic }])
  }

  /** The append with these copies is through. */
  written(copies: readonly Copy[]): void {
    for (const { draft, topic } of copies) {
      topic.isSaved = true
      const counter = isRetryTopic(draft.topic) ? this.#retried : this.#deadLetters
      counter.value++
    }
    this.#parts.dueTimer.arm()
  }

  /** Waits for the copies under way. */
  async close(): Promise<void> {
    await Promise.all(this.#running)
  }

  async #empty(queue: GroupQueue): Promise<void> {
    const outbox = this.#outboxes.get(queue)!
    // One turn, so that what fails together leaves together.
    await undefined
    while (outbox.length > 0) await this.#append(queue, outbox.splice(0, LEAVING_AT_ONCE_MAX))
    this.#outboxes.delete(queue)
  }

  async #append(queue: GroupQueue, taken: Leaving[]): Promise<void> {
    const batch = await this.#copies(queue, taken)
    const topics = new Set(batch.flatMap(({ copy }) => copy?.topic ?? []))
    let result: SettleResult = null
    for (const { leaving } of batch) queue.markLeft(leaving.entry)
    try {
      const messages = batch.flatMap(({ copy }) => copy?.draft ?? [])
      const facts = [...this.#parts.topics.unsaved(topics), placeFact(queue)]
      if (batch.length > 0) await this.#parts.store.append({ messages, facts })
    } catch (thrown) {
      const error = BrokerError.from(thrown)
      // The log has the copies: those that stayed would be copied again and again.
      if (isUnconfirmed(error)) result = error
      else {
        for (const { leaving } of batch) this.#stay(queue, leaving, error)
        return
      }
    }
    this.written(batch.flatMap(({ copy }) => copy ?? []))
    for (const { leaving } of batch) {
      queue.forget(leaving.entry)
      leaving.settle(result)
    }
    // Acknowledgements that came in during the append are not in the fact just written.
    this.#parts.facts.mark(queue.cursor)
  }

  /** The copies for the next append; messages beyond its size go back to the outbox. */
  async #copies(queue: GroupQueue, taken: Leaving[]): Promise<Departure[]> {
    const departures: Departure[] = []
    let bytes = 0
    while (taken.length > 0 && bytes < APPEND_BYTES_TARGET) {
      const leaving = taken.shift()!
      const copy = await this.copyOf(queue, leaving.entry, leaving.destination)
      if (copy instanceof BrokerError) this.#stay(queue, leaving, copy)
      else {
        departures.push({ leaving, copy })
        bytes += copy === undefined ? 0 : copy.draft.body.length + copy.draft.properties.length
      }
    }
    this.#outboxes.get(queue)!.unshift(...taken)
    // While records were read from the disk the group may have been moved elsewhere.
    return departures.filter(({ leaving }) => {
      const isLeaving = leaving.entry.state === ENTRY_STATE.leaving
      if (!isLeaving) leaving.settle(new BrokerError('RECEIPT_EXPIRED', 'the group was moved'))
      return isLeaving
    })
  }

  /** undefined: retention took the record, there is nothing to keep. */
  async copyOf(
    queue: GroupQueue,
    entry: Entry,
    destination: RetryDestination,
  ): Promise<Copy | BrokerError | undefined> {
    const { topic, queueId, group } = queue.cursor
    const { offset } = entry
    try {
      const request = { topic, queueId, offset, maxMessages: 1, maxBytes: 1, hashes: undefined }
      const result = await this.#parts.store.read(request)
      if (result.status !== 'found' || result.offsets[0] !== offset) return undefined
      const failed = entry.reconsumeTimes + entry.attempts + 1
      const received = { from: topic, note: entry.note, poppedAt: entry.poppedAt }
      return this.#copy(new RecordView(result.records), group, failed, destination, received)
    } catch (thrown) {
      return BrokerError.from(thrown)
    }
  }

  /**
   * The copy cannot be made: a message too large for it waits in place, else the consumer keeps it.
   */
  #stay(queue: GroupQueue, leaving: Leaving, error: BrokerError): void {
    const { entry, serial, destination, settle } = leaving
    const nowMs = this.#parts.clock.monotonic()
    if (error.code === 'MESSAGE_TOO_LARGE' && 'delayMs' in destination) {
      entry.attempts++
      queue.park(entry, nowMs + destination.delayMs)
      settle(null)
    } else {
      if (serial === 0) queue.park(entry, nowMs + STUCK_MS)
      else queue.takeBack(entry, serial)
      settle(error)
    }
    // Acknowledgements during the append were held back from the log.
    this.#parts.facts.mark(queue.cursor)
  }

  /** A client that is refused would hand the same message back again and again. */
  #copyOrDeadLetter(
    record: RecordView,
    group: string,
    failed: number,
    destination: RetryDestination,
  ): Copy {
    try {
      return this.#copy(record, group, failed, destination, NOT_RECEIVED)
    } catch (thrown) {
      const error = BrokerError.from(thrown)
      if (error.code !== 'MESSAGE_TOO_LARGE') throw error
      const deadBecause = `no room for a retry beside ${error.message}`
      return this.#copy(record, group, failed, { deadBecause }, NOT_RECEIVED)
    }
  }

  #copy(
    record: RecordView,
    group: string,
    failed: number,
    destination: RetryDestination,
    received: Received,
  ): Copy {
    const isDead = 'deadBecause' in destination
    const delayMs = isDead ? 0 : destination.delayMs
    const topic = isDead
      ? this.#parts.groups.deadLetterTopic(group)
      : this.#parts.groups.retryTopic(group)
    const { name } = topic.definition
    const draft: StoreDraft = {
      ...draftOf(record),
      topic: name,
      queueId: isDead ? 0 : queueInTurn(topic),
      sysFlag: isDead ? record.sysFlag & ~SYS_FLAG.expires : record.sysFlag,
      reconsumeTimes: failed,
      properties: copyProperties(record, name, group, destination, received),
      dueMs: delayMs > 0 ? this.#parts.clock.now() + delayMs : undefined,
    }
    return { draft, topic }
  }
}

export const exhausted = (max: number): string => `not consumed after ${max} retries`

/** The group's place on the queue without what left with the append under way. */
export const placeFact = (queue: GroupQueue): Fact => queue.cursor.factOf(queue.stateAfter())

function copyProperties(
  record: RecordView,
  topic: string,
  group: string,
  destination: RetryDestination,
  { from, note, poppedAt }: Received,
): Buffer {
  const original = originalTopic(record)
  const added: [string, string][] = [[PROPERTY.retryTopic, original]]
  if (record.property(PROPERTY.originMessageId) === undefined) {
    added.push([PROPERTY.originMessageId, offsetMessageId(record.storeHost, record.position)])
  }
  if (note !== undefined) added.push([PROPERTY.note, note])
  if (poppedAt > 0) {
    added.push([PROPERTY.originGroup, group])
    if (record.property(PROPERTY.firstPopTime) === undefined) {
      added.push([PROPERTY.firstPopTime, String(poppedAt)])
    }
  }
  if ('deadBecause' in destination) {
    added.push([PROPERTY.deadLetterReason, plain(destination.deadBecause)])
    const properties = editProperties(record.propertyBytes, added, DEAD_DROPS)
    // The message counts more than its note: without room for the note it goes as it came.
    return properties.length <= PROPERTIES_BYTES_MAX ? properties : record.propertyBytes
  }
  // A light queue's and a dead-letter topic's consumers get their retries back, not the original
  // topic's.
  const isOwn = from === original || from === retryTopic(group)
  if (from !== undefined && !isOwn) added.push([PROPERTY.receivedFrom, from])
  if (destination.level !== undefined) added.push([PROPERTY.delay, String(destination.level)])
  const parking = destination.delayMs > 0 ? PARKED_PROPERTIES_BYTES + topic.length : 0
  const room = PROPERTIES_BYTES_MAX - parking
  const properties = editProperties(record.propertyBytes, added, COPY_DROPS)
  if (properties.length <= room) return properties
  const fewer = editProperties(record.propertyBytes, added, DISPENSABLE)
  if (fewer.length <= room) return fewer
  throw new BrokerError('MESSAGE_TOO_LARGE', `${properties.length} bytes of properties`)
}

const atLevel = (level: number): RetryDestination => ({
  delayMs: delayLevelMs(level),
  level: Math.min(level, DELAY_LEVEL_MAX),
})

/** A reason comes from clients and must not tear the properties. */
const plain = (text: string): string =>
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the separators of properties
  text.slice(0, DEAD_REASON_CHARS_MAX).replace(/[\u0000-\u001f]/g, ' ')
