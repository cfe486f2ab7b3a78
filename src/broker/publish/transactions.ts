// The ends of half messages. A commit is one append: the message, and the mark that its half is
// done. The due index is all that is known of halves: one that waits there is open, any other is
// decided, so a second end changes nothing. Ends of one turn of the event loop share an append.
import type { Clock } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import { parseRounds, roundAt } from '../../model/due-rounds.ts'
import { SCHEDULE_TOPIC } from '../../model/names.ts'
import type { LogPosition } from '../../model/positions.ts'
import { PROPERTY } from '../../model/properties.ts'
import { RecordView } from '../../model/record.ts'
import type { HalfName, TransactionCheck, TransactionEnd } from '../../model/transaction.ts'
import type { DueEntry, MessageStore, Parked, StoreDraft } from '../../store/store.ts'
import type { TopicTable } from '../definitions/topics.ts'
import { APPEND_BYTES_TARGET, type BrokerOptions } from '../options.ts'
import type { DueTimer } from './due-timer.ts'
import { committedDraft, HALF, placeOf } from './halves.ts'
import { type Producers, TransactionChecks } from './transaction-checks.ts'

/** Messages with the id of one that was ended before: producers give each message its own. */
const SAME_ID_MAX = 16

interface Parts {
  readonly store: MessageStore
  readonly topics: TopicTable
  readonly dueTimer: DueTimer
  readonly clock: Clock
  readonly log: Logger
  readonly options: BrokerOptions
  readonly clients: Producers
}

/** An end on its way into the log. */
interface HalfEnd {
  readonly entry: DueEntry
  /** undefined: rolled back. */
  readonly draft: StoreDraft | undefined
  readonly settle: (error: BrokerError | undefined) => void
}

export class Transactions {
  readonly #parts: Parts
  readonly #checks: TransactionChecks
  /** The last end under way, by the place of its half. */
  readonly #ending = new Map<LogPosition, Promise<void>>()
  /** The last look for the message of a half that is decided. */
  #looked: Promise<unknown> = Promise.resolve()
  /** Of this turn. */
  #endings: HalfEnd[] = []

  constructor(parts: Parts) {
    this.#parts = parts
    this.#checks = new TransactionChecks(parts)
    parts.dueTimer.handle(HALF, (record, entry) =>
      this.#ending.has(placeOf(record)) ? 'ending' : this.#checks.onDue(record, entry),
    )
  }

  watch(asked: (check: TransactionCheck) => void): Disposable {
    return this.#checks.watch(asked)
  }

  /** The topic that a half message is for; undefined: there is no such half message. */
  async topic({ position }: HalfName): Promise<string | undefined> {
    const parked = await this.#parts.store.parked(position)
    return parked?.record.property(PROPERTY.realTopic)
  }

  /** Ends of one half go one after the other, each behind the one before it. */
  end(end: TransactionEnd): Promise<void> {
    const { position } = end.half
    const before = this.#ending.get(position)
    const next = (): Promise<void> => this.#end(end)
    const ending = before === undefined ? next() : before.then(next, next)
    this.#ending.set(position, ending)
    const ended = (): void => {
      if (this.#ending.get(position) === ending) this.#ending.delete(position)
    }
    ending.then(ended, ended)
    return ending
  }

  async #end({ half, group, outcome }: TransactionEnd): Promise<void> {
    const { store, topics, clock } = this.#parts
    const { position } = half
    const parked = await this.#parked(position)
    const properties = parked?.record.firstProperties()
    if (parked === undefined || properties?.get(PROPERTY.dueKind) !== HALF) {
      throw noHalf('Find prepared transaction message failed')
    }
    const { record, entry } = parked
    const rounds = parseRounds(properties.get(PROPERTY.dueRounds))!
    const wrong = wrongName(properties, rounds.firstPlace ?? record.position, half, group)
    if (wrong !== undefined) throw new BrokerError('ARGUMENT_INVALID', wrong)
    if (entry === undefined) return this.#endAgain(record, position, outcome)
    if (outcome === 'rollback') return this.#append(entry, undefined)
    const round = roundAt(record, rounds, entry.dueMs)
    const topic = topics.find(properties.get(PROPERTY.realTopic)!)
    if (topic === undefined || store.isDropped(record)) {
      await this.#append(entry, undefined)
      throw new BrokerError(
        'TOPIC_NOT_FOUND',
        `the topic '${record.property(PROPERTY.realTopic)}' of the half message was deleted, and its message with it`,
      )
    }
    const draft = committedDraft(record, position, round, clock.now())
    const queueId = draft.queueId % topic.definition.writeQueues
    return this.#append(entry, { ...draft, queueId })
  }

  /** As a check leaves it that is under way: that may copy the half message, or give it up. */
  async #parked(position: LogPosition): Promise<Parked | undefined> {
    const { store, dueTimer } = this.#parts
    for (;;) {
      const parked = await store.parked(position)
      const checked = parked?.entry && dueTimer.whenEnded(parked.entry)
      if (checked === undefined) return parked
      await checked
    }
  }

  #append(entry: DueEntry, draft: StoreDraft | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#endings.length === 0) process.nextTick(() => this.#flush())
      this.#endings.push({
        entry,
        draft,
        settle: (error) => (error === undefined ? resolve() : reject(error)),
      })
    })
  }

  #flush(): void {
    const endings = this.#endings
    this.#endings = []
    // Apart: on a full disk commits are refused, which are new messages.
    this.#writeParts(endings.filter(({ draft }) => draft === undefined))
    this.#writeParts(endings.filter(({ draft }) => draft !== undefined))
  }

  #writeParts(endings: readonly HalfEnd[]): void {
    let group: HalfEnd[] = []
    let bytes = 0
    for (const ending of endings) {
      group.push(ending)
      bytes += (ending.draft?.body.length ?? 0) + (ending.draft?.properties.length ?? 0)
      if (bytes < APPEND_BYTES_TARGET) continue
      this.#write(group)
      group = []
      bytes = 0
    }
    if (group.length > 0) this.#write(group)
  }

  #write(endings: readonly HalfEnd[]): void {
    const { store, dueTimer } = this.#parts
    const messages = endings.flatMap(({ draft }) => draft ?? [])
    const fired = endings.map(({ entry }) => entry)
    const hasDelayed = messages.some(({ dueMs }) => dueMs !== undefined)
    store.append({ messages, fired, isNew: messages.length > 0 }).then(
      () => {
        if (hasDelayed) dueTimer.arm()
        for (const { settle } of endings) settle(undefined)
      },
      (thrown: unknown) => {
        for (const { settle } of endings) settle(BrokerError.from(thrown))
      },
    )
  }

  /** It is decided already: whatever it was, nothing changes. */
  async #endAgain(
    record: RecordView,
    place: LogPosition,
    outcome: TransactionEnd['outcome'],
  ): Promise<void> {
    // One at a time: each reads records, and thousands may come in one turn.
    const look = (): Promise<boolean> => this.#wasCommitted(record, place)
    const looked = this.#looked.then(look, look)
    this.#looked = looked
    const wasCommitted = await looked
    if (wasCommitted === (outcome === 'commit')) return
    throw noHalf(
      wasCommitted
        ? 'the transaction was committed before; it is not rolled back'
        : 'the transaction was rolled back or given up before; it is not committed',
    )
  }

  async #wasCommitted(record: RecordView, place: LogPosition): Promise<boolean> {
    const id = record.property(PROPERTY.uniqueKey)
    if (id === undefined) return false
    // A delayed message waits in the latter.
    for (const topic of [record.property(PROPERTY.realTopic)!, SCHEDULE_TOPIC]) {
      const found = await this.#parts.store.findByKey(topic, id, { max: SAME_ID_MAX })
      if (found.some((bytes) => new RecordView(bytes).preparedPosition === place)) return true
    }
    return false
  }
}

/** As Apache's broker checks them, and in its words. */
function wrongName(
  properties: ReadonlyMap<string, string>,
  place: LogPosition,
  half: HalfName,
  group: string,
): string | undefined {
  if (properties.get(PROPERTY.producerGroup) !== group) return 'The producer group wrong'
  if (half.queueOffset !== 0) return 'The transaction state table offset wrong'
  return place === half.position ? undefined : 'The commit log offset wrong'
}

const noHalf = (message: string): BrokerError => new BrokerError('MESSAGE_NOT_FOUND', message)
