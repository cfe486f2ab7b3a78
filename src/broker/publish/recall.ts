// Takes delayed messages back before their time. A message is found by its unique key among the
// parked ones; a producer that repeated its send may have parked several.
import type { Clock } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import { decodeRecallHandle, type RecallHandle } from '../../model/message-id.ts'
import { SCHEDULE_TOPIC } from '../../model/names.ts'
import { PROPERTY } from '../../model/properties.ts'
import { RecordView } from '../../model/record.ts'
import type { DueEntry, MessageStore } from '../../store/store.ts'
import type { TopicTable } from '../definitions/topics.ts'
import type { BrokerOptions } from '../options.ts'
import type { DueTimer } from './due-timer.ts'

/** Copies of one message that are looked for: retention and repeated sends make some. */
const COPIES_MAX = 64

interface Parts {
  readonly store: MessageStore
  readonly topics: TopicTable
  readonly dueTimer: DueTimer
  readonly clock: Clock
  readonly options: BrokerOptions
}

export class Recalls {
  readonly #parts: Parts

  constructor(parts: Parts) {
    this.#parts = parts
  }

  /** In the words of Apache's RecallMessageProcessor. @returns the message's id */
  async recall(topic: string, text: string): Promise<string> {
    const { topics, clock, options } = this.#parts
    if (!options.recall) {
      throw new BrokerError('PERMISSION_DENIED', 'recall failed, operation is forbidden')
    }
    if (topics.find(topic) === undefined) {
      const name = topic.slice(0, 300)
      throw new BrokerError('TOPIC_NOT_FOUND', `recall failed, the topic[${name}] not exist`)
    }
    const handle = checkedHandle(topic, text, options.brokerName)
    const entries = await this.#parked(handle)
    let isLate = handle.dueMs <= clock.now()
    for (const entry of entries) {
      const outcome = await this.#parts.dueTimer.withdraw(entry)
      if (outcome === 'fired') throw tooLate()
      if (outcome === 'withdrawn') isLate = false
    }
    if (isLate) throw tooLate()
    return handle.messageId
  }

  /** Places where the message may wait. */
  async #parked(handle: RecallHandle): Promise<DueEntry[]> {
    const { topic, dueMs, messageId } = handle
    const options = { max: COPIES_MAX }
    const records = await this.#parts.store.findByKey(SCHEDULE_TOPIC, messageId, options)
    return records
      .map((record) => new RecordView(record))
      .filter(
        (view) =>
          view.property(PROPERTY.uniqueKey) === messageId &&
          view.property(PROPERTY.realTopic) === topic &&
          view.property(PROPERTY.dueMs) === String(dueMs) &&
          view.property(PROPERTY.dueKind) === undefined,
      )
      .map(({ position }) => ({ dueMs, position }))
  }
}

/** @throws ARGUMENT_INVALID */
function checkedHandle(topic: string, text: string, brokerName: string): RecallHandle {
  const handle = decodeRecallHandle(text)
  if (handle === undefined) throw invalid('recall handle is invalid')
  if (handle.topic !== topic) throw invalid('recall failed, topic not match')
  if (handle.brokerName !== brokerName) {
    throw invalid('recall failed, broker service not available')
  }
  return handle
}

const invalid = (text: string): BrokerError => new BrokerError('ARGUMENT_INVALID', text)

/** It is delivered, or about to be. */
const tooLate = (): BrokerError =>
  new BrokerError('MESSAGE_NOT_FOUND', 'recall failed, timestamp invalid')
