// The ends of half messages. A commit is one append: the message, and the mark that its half is
// done. The due index is all that is known of halves: one that waits there is open, any other is
// decided, so a second end changes nothing. Ends that came together share an append.
import type { Clock } from '../../clock.ts'
import { BrokerError, isOfContent } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import { SCAN } from '../../model/message-scan.ts'
import { SCHEDULE_TOPIC } from '../../model/names.ts'
import type { LogPosition } from '../../model/positions.ts'
import { PROPERTY } from '../../model/properties.ts'
import { RecordView } from '../../model/record.ts'
import type { HalfName, TransactionAsker, TransactionEnd } from '../../model/transaction.ts'
import type { DueEntry, MessageStore, Parked, StoreMessage } from '../../store/store.ts'
import type { TopicTable } from '../definitions/topics.ts'
import { APPEND_BYTES_TARGET, type BrokerOptions } from '../options.ts'
import { type DispatchBudget, dispatchesOf } from './dispatch-budget.ts'
import type { DueTimer } from './due-timer.ts'
import { EndGroup, type EndResult } from './end-group.ts'
import { HALF } from './half-waits.ts'
import { committedCopy, committedDraft, type Half, halfOf, placeOf } from './halves.ts'
import { RecordRoom } from './record-room.ts'
import { type Producers, TransactionChecks } from './transaction-checks.ts'

/** Messages with the id of one that was ended before: producers give each message its own. */
const SAME_ID_MAX = 16

interface Parts {
  readonly store: MessageStore
  readonly topics: TopicTable
  readonly dueTimer: DueTimer
  readonly dispatchBudget: DispatchBudget
  readonly clock: Clock
  readonly log: Logger
  readonly options: BrokerOptions
  readonly clients: Producers
}

/** What becomes of a half message in memory. */
interface Young {
  readonly entry: DueEntry
  /** undefined: rolled back. */
  readonly message: StoreMessage | undefined
  /** Entries that it gets in named light queues. */
  readonly dispatches: number
}

export class TransactionEnds {
  readonly #parts: Parts
  readonly #checks: TransactionChecks
  /** The last end under way, by the place of its half. */
  readonly #ending = new Map<LogPosition, Promise<void>>()
  /** The last look for the message of a half that is decided. */
  #looked: Promise<unknown> = Promise.resolve()
  readonly #room: RecordRoom

  constructor(parts: Parts) {
    this.#parts = parts
    this.#checks = new TransactionChecks(parts)
    this.#room = new RecordRoom(parts.options.bodyBytesMax)
    parts.dueTimer.handle(HALF, (record, entry) =>
      this.#ending.has(placeOf(record)) ? 'ending' : this.#checks.onDue(record, entry),
    )
  }

  watch(asker: TransactionAsker): Disposable {
    return this.#checks.watch(asker)
  }

  /** The topic that a half message is for; undefined: there is no such half message. */
  async topic({ position }: HalfName): Promise<string | undefined> {
    const parked = await this.#parts.store.parked(position)
    return parked?.record.property(PROPERTY.realTopic)
  }

  async end(end: TransactionEnd): Promise<void> {
    const [error] = await this.endAll([end])
    if (error !== undefined) throw error
  }

  /** Those of half messages that are in memory, as nearly all are, share an append. */
  endAll(ends: readonly TransactionEnd[]): Promise<readonly EndResult[]> {
    const results = new Array<EndResult>(ends.length)
    const waits: Promise<void>[] = []
    // Apart: on a full disk commits are refused, which are new messages.
    const groups = { commit: new EndGroup(results), rollback: new EndGroup(results) }
    for (let i = 0; i < ends.length; i++) {
      const end = ends[i]!
      const { position } = end.half
      const before = this.#ending.get(position)
      const young = before === undefined ? this.#youngOrNot(end) : undefined
      if (young === undefined) {
        waits.push(this.#endInTurn(end, before, i, results))
        continue
      }
      const group = groups[end.outcome]
      group.add(end, i, young)
      this.#ending.set(position, group.settled)
      const { dispatches } = young
      if (dispatches > 0) void this.#parts.dispatchBudget.take(dispatches, group.settled)
      if (this.#room.used < APPEND_BYTES_TARGET) continue
      waits.push(...this.#write(groups))
      groups.commit = new EndGroup(results)
      groups.rollback = new EndGroup(results)
    }
    waits.push(...this.#write(groups))
    return Promise.all(waits).then(() => results)
  }

  /** Ends of one half go one after the other, each behind the one before it. */
  #endInTurn(
    end: TransactionEnd,
    before: Promise<void> | undefined,
    slot: number,
    results: EndResult[],
  ): Promise<void> {
    const { position } = end.half
    const ending = (before ?? Promise.resolve())
      .then(() => this.#endOld(end))
      .catch((thrown: unknown) => {
        results[slot] = BrokerError.from(thrown)
      })
      .finally(() => {
        if (this.#ending.get(position) === ending) this.#ending.delete(position)
      })
    this.#ending.set(position, ending)
    return ending
  }

  /** What fails so fails the longer way as well, which fails this end alone. */
  #youngOrNot(end: TransactionEnd): Young | undefined {
    try {
      return this.#young(end)
    } catch {
      return undefined
    }
  }

  /**
   * Of a half message that is in memory: undefined where the longer way says what is the matter, or
   * waits for room. The message is lent until the next is written.
   */
  #young(end: TransactionEnd): Young | undefined {
    const { dueTimer, dispatchBudget } = this.#parts
    const { position } = end.half
    const lent = this.#room.copy(this.#parts.store, position)
    if (lent === undefined) return undefined
    const { record, entry } = lent
    if (dueTimer.whenEnded(entry) !== undefined) return undefined
    const half = halfOf(record)
    if (half === undefined || wrongName(half, record, end) !== undefined) return undefined
    if (end.outcome === 'rollback') return { entry, message: undefined, dispatches: 0 }
    const dispatches = (half.found & SCAN.dispatched) === 0 ? 0 : namesOf(half)
    if (dispatches > 0 && !dispatchBudget.hasRoom(dispatches)) return undefined
    const message = this.#message(half, record, entry, position, true)
    return message && { entry, message, dispatches }
  }

  /** `isRoomTaken`: for the entries of its message in named light queues. */
  async #endOld(end: TransactionEnd, isRoomTaken = false): Promise<void> {
    const { position } = end.half
    const parked = await this.#parked(position)
    const half = parked && halfOf(parked.record)
    if (half === undefined) throw noHalf('Find prepared transaction message failed')
    const { record, entry } = parked!
    const wrong = wrongName(half, record, end)
    if (wrong !== undefined) throw new BrokerError('ARGUMENT_INVALID', wrong)
    if (entry === undefined) return this.#endAgain(record, position, end.outcome)
    const isDispatched = end.outcome === 'commit' && (half.found & SCAN.dispatched) !== 0
    if (isDispatched && !isRoomTaken) {
      const again = (): Promise<void> => this.#endOld(end, true)
      return this.#parts.dispatchBudget.within(namesOf(half), again)
    }
    if (end.outcome === 'rollback') return this.#append(entry, undefined)
    const message = this.#message(half, record, entry, position, false)
    await this.#append(entry, message)
    if (message !== undefined) return
    throw new BrokerError(
      'TOPIC_NOT_FOUND',
      `the topic '${half.topic}' of the half message was deleted, and its message with it`,
    )
  }

  /** What a commit stores, of a record that may be `lent` for it; undefined: its topic is gone. */
  #message(
    half: Half,
    record: RecordView,
    entry: DueEntry,
    place: LogPosition,
    isLent: boolean,
  ): StoreMessage | undefined {
    const { store, topics, clock } = this.#parts
    const topic = topics.find(half.topic)
    if (topic === undefined || store.isDropped(record)) return undefined
    const queueId = half.queueId % topic.definition.writeQueues
    const copy = isLent ? committedCopy(record, half, queueId, entry, place) : undefined
    return copy ?? committedDraft(record, half, queueId, entry, place, clock.now())
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

  async #append(entry: DueEntry, message: StoreMessage | undefined): Promise<void> {
    const { store, dueTimer } = this.#parts
    const messages = message === undefined ? [] : [message]
    try {
      await store.append({ messages, fired: [entry], isNew: messages.length > 0 })
    } finally {
      // Also what no slave confirmed is in the log.
      if (message?.dueMs !== undefined) dueTimer.arm()
    }
  }

  /** Within the call: their records are lent for it. @returns what never rejects */
  #write({ commit, rollback }: Readonly<Record<'commit' | 'rollback', EndGroup>>): Promise<void>[] {
    const { store, dueTimer } = this.#parts
    const written: Promise<void>[] = []
    for (const group of [rollback, commit]) {
      const { messages, fired } = group
      if (fired.length === 0) continue
      const settle = (results: EndResult | readonly EndResult[]): void => {
        if (group.hasDelayed) dueTimer.arm()
        for (const { half } of group.ends) {
          if (this.#ending.get(half.position) === group.settled) this.#ending.delete(half.position)
        }
        group.settle(results)
      }
      void store.append({ messages, fired, isNew: messages.length > 0 }).then(
        () => settle(undefined),
        async (thrown: unknown) => settle(await this.#refused(group, BrokerError.from(thrown))),
      )
      written.push(group.settled)
    }
    this.#room.reset()
    return written
  }

  /** Where one of them is refused for itself, the others end all the same. */
  async #refused(
    { ends }: EndGroup,
    error: BrokerError,
  ): Promise<EndResult | readonly EndResult[]> {
    if (!isOfContent(error) || ends.length === 1) return error
    const results: EndResult[] = []
    for (const end of ends) {
      // Room for the entries of all is taken until the group is settled.
      results.push(await this.#endOld(end, true).then(() => undefined, BrokerError.from))
    }
    return results
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

const namesOf = ({ bytes, ownStart, ownEnd }: Half): number => dispatchesOf(bytes, ownStart, ownEnd)

/** As Apache's broker checks them, and in its words. */
function wrongName(
  { group, rounds }: Half,
  record: RecordView,
  end: TransactionEnd,
): string | undefined {
  if (group !== end.group) return 'The producer group wrong'
  if (end.half.queueOffset !== 0) return 'The transaction state table offset wrong'
  const place = rounds.firstPlace ?? record.position
  return place === end.half.position ? undefined : 'The commit log offset wrong'
}

const noHalf = (message: string): BrokerError => new BrokerError('MESSAGE_NOT_FOUND', message)
