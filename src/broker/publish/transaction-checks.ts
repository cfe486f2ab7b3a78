// Asks the producers of half messages what became of them. A half message that is due is put off
// to its next check where it stands, and then one live producer of its group is asked that may
// publish to its topic: another one each time. After the last check it goes to a topic of its own,
// for a person to look at.
import type { Clock } from '../../clock.ts'
import type { Logger } from '../../log.ts'
import { ROUNDS_MAX, roundAt, roundsOf } from '../../model/due-rounds.ts'
import { queueOffset } from '../../model/positions.ts'
import { PROPERTY } from '../../model/properties.ts'
import type { RecordView } from '../../model/record.ts'
import type { TransactionAsker } from '../../model/transaction.ts'
import type { DueEntry, MessageStore } from '../../store/store.ts'
import type { BrokerOptions } from '../options.ts'
import { type DueOutcome, NOTHING } from './due-timer.ts'
import { copiedHalf, givenUpDraft, placeOf, shownRecord } from './halves.ts'

export interface Producers {
  /** The connection of a live producer of the group, another one each time. */
  nextProducer(group: string): string | undefined
}

/** So many producers of a group are looked at for one that may be asked. */
const CANDIDATES_MAX = 64

/** Without a producer a half message waits for this part of its age, and no check counts. */
const AGE_PART = 4

interface Found {
  readonly connectionId: string
  readonly asker: TransactionAsker
}

interface Parts {
  readonly store: MessageStore
  readonly clock: Clock
  readonly log: Logger
  readonly options: BrokerOptions
  readonly clients: Producers
}

export class TransactionChecks {
  readonly #parts: Parts
  readonly #askers = new Set<TransactionAsker>()

  constructor(parts: Parts) {
    this.#parts = parts
  }

  watch(asker: TransactionAsker): Disposable {
    this.#askers.add(asker)
    return { [Symbol.dispose]: () => void this.#askers.delete(asker) }
  }

  onDue(record: RecordView, entry: DueEntry): DueOutcome {
    const { store, clock, options } = this.#parts
    // Its message would have gone with the topic.
    if (store.isDropped(record)) return NOTHING
    const rounds = roundsOf(record)!
    const { periodMs } = rounds
    const firstPlace = placeOf(record)
    const round = roundAt(Number(record.property(PROPERTY.dueMs)), rounds, entry.dueMs)
    const nowMs = clock.now()
    const ageMs = nowMs - record.bornTimestamp
    if (round >= options.transactionChecksMax || ageMs > options.transactionMsMax) {
      return this.#giveUp(record, round)
    }
    const group = record.property(PROPERTY.producerGroup)!
    const found = this.#findProducer(group, record)
    if (found === undefined) {
      const waitMs = Math.max(periodMs, Math.floor(ageMs / AGE_PART))
      return { message: copiedHalf(record, nowMs + waitMs, { periodMs, round, firstPlace }) }
    }
    const settled = () => this.#ask(record, found, group, round + 1)
    const nextMs = entry.dueMs + periodMs
    // After a time without the broker the checks are not made up for at once.
    if (nextMs > nowMs && round - rounds.round < ROUNDS_MAX) return { putOffMs: nextMs, settled }
    const later = { periodMs, round: round + 1, firstPlace }
    return { message: copiedHalf(record, nowMs + periodMs, later), settled }
  }

  /** Only the next ones of very many: the others are looked at when it is due again. */
  #findProducer(group: string, record: RecordView): Found | undefined {
    const topic = record.property(PROPERTY.realTopic)!
    const responseTopic = record.property(PROPERTY.transactionReplyTo)
    let first: string | undefined
    for (let left = CANDIDATES_MAX; left > 0; left--) {
      const connectionId = this.#parts.clients.nextProducer(group)
      if (connectionId === undefined || connectionId === first) return undefined
      first ??= connectionId
      for (const asker of this.#askers) {
        if (asker.mayAsk({ connectionId, topic, responseTopic })) return { connectionId, asker }
      }
    }
    return undefined
  }

  #giveUp(record: RecordView, round: number): DueOutcome {
    const message = givenUpDraft(record, round)
    const topic = record.property(PROPERTY.realTopic)
    const group = record.property(PROPERTY.producerGroup)
    this.#parts.log.warn(
      { evt: 'transaction.given_up', topic, group, checks: round },
      `a half message is given up after ${round} checks and goes to the topic ${message.topic}`,
    )
    return { message }
  }

  #ask(record: RecordView, { connectionId, asker }: Found, group: string, round: number): void {
    const { options, store } = this.#parts
    const { brokerName } = options
    asker.ask({
      connectionId,
      group,
      half: { brokerName, position: placeOf(record), queueOffset: queueOffset(0) },
      transactionId: record.property(PROPERTY.uniqueKey) ?? '',
      record: shownRecord(record, round, store.storeHost),
    })
  }
}
