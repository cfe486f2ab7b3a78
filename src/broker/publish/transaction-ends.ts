// The ends of half messages. A commit is one append: the message, and the mark that its half is
// done. The due index is all that is known of halves: one that waits there is open, any other is
// decided, so a second end changes nothing. Ends of one turn of the event loop share an append.
import type { Clock } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import { SCAN } from '../../model/message-scan.ts'
import { SCHEDULE_TOPIC } from '../../model/names.ts'
import type { LogPosition } from '../../model/positions.ts'
import { PROPERTY } from '../../model/properties.ts'
import { RecordView } from '../../model/record.ts'
import type { HalfName, TransactionAsker, TransactionEnd } from '../../model/transaction.ts'
import type { DueEntry, MessageStore, Parked, StoreDraft } from '../../store/store.ts'
import type { TopicTable } from '../definitions/topics.ts'
import { APPEND_BYTES_TARGET, type BrokerOptions } from '../options.ts'
import { type DispatchBudget, dispatchesOf } from './dispatch-budget.ts'
import type { DueTimer } from './due-timer.ts'
import { committedDraft, HALF, type Half, halfOf, placeOf } from './halves.ts'
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

/** An end on its way into the log. */
interface HalfEnd {
  readonly entry: DueEntry
  /** undefined: rolled back. */
  readonly draft: StoreDraft | undefined
  readonly settle: (error: BrokerError | undefined) => void
}

/** What becomes of a half message in memory. */
interface Young extends Omit<HalfEnd, 'settle'> {
  /** Entries that it gets in named light queues. */
  readonly dispatches: number
}

/** The ends of one turn of the event loop. */
interface Turn {
  readonly endings: HalfEnd[]
  /** All of them are settled. */
  readonly settled: Promise<void>
}

type EndResult = BrokerError | undefined

export class TransactionEnds {
  readonly #parts: Parts
  readonly #checks: TransactionChecks
  /** The last end under way, by the place of its half. */
  readonly #ending = new Map<LogPosition, Promise<void>>()
  /** The last look for the message of a half that is decided. */
  #looked: Promise<unknown> = Promise.resolve()
  #turn: Turn | undefined

  constructor(parts: Parts) {
    this.#parts = parts
    this.#checks = new TransactionChecks(parts)
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

  endAll(ends: readonly TransactionEnd[]): Promise<readonly EndResult[]> {
    return new Promise((resolve) => {
      const results = new Array<EndResult>(ends.length)
      let open = ends.length
      for (let i = 0; i < ends.length; i++) {
        this.#end(ends[i]!, (error) => {
          results[i] = error
          if (--open === 0) resolve(results)
        })
      }
      if (open === 0) resolve(results)
    })
  }

  /** Ends of one half go one after the other, each behind the one before it. */
  #end(end: TransactionEnd, settle: (result: EndResult) => void): void {
    const { position } = end.half
    const before = this.#ending.get(position)
    const parked = before === undefined ? this.#parts.store.parked(position) : undefined
    const isHere = parked !== undefined && !(parked instanceof Promise)
    const young = isHere ? this.#young(end, parked) : undefined
    const settled = (error: EndResult): void => {
      if (this.#ending.get(position) === ending) this.#ending.delete(position)
      settle(error)
    }
    const old = (): Promise<void> => this.#endOld(end)
    let ending: Promise<void>
    if (young !== undefined) {
      const { dispatches, ...half } = young
      ending = this.#add({ ...half, settle: settled })
      if (dispatches > 0) void this.#parts.dispatchBudget.take(dispatches, ending)
    } else {
      ending = before === undefined ? this.#endOld(end, parked) : before.then(old, old)
      ending.then(
        () => settled(undefined),
        (thrown: unknown) => settled(BrokerError.from(thrown)),
      )
    }
    this.#ending.set(position, ending)
  }

  /**
   * Of a half message that is in memory, as nearly all are that are ended: it is ended within the
   * call. undefined: the longer way says what is the matter, or waits for room.
   */
  #young(end: TransactionEnd, { record, entry }: Parked): Young | undefined {
    const { dueTimer, dispatchBudget } = this.#parts
    if (entry === undefined || dueTimer.whenEnded(entry) !== undefined) return undefined
    const half = halfOf(record)
    if (half === undefined || wrongName(half, record, end) !== undefined) return undefined
    if (end.outcome === 'rollback') return { entry, draft: undefined, dispatches: 0 }
    const dispatches = (half.found & SCAN.dispatched) === 0 ? 0 : dispatchesOf(half.own)
    if (dispatches > 0 && !dispatchBudget.hasRoom(dispatches)) return undefined
    const draft = this.#draft(half, record, entry, end.half.position)
    return draft && { entry, draft, dispatches }
  }

  /** `isRoomTaken`: for the entries of its message in named light queues. */
  async #endOld(
    end: TransactionEnd,
    first?: Parked | Promise<Parked | undefined>,
    isRoomTaken = false,
  ): Promise<void> {
    const { position } = end.half
    const parked = await this.#parked(position, first)
    const half = parked && halfOf(parked.record)
    if (half === undefined) throw noHalf('Find prepared transaction message failed')
    const { record, entry } = parked!
    const wrong = wrongName(half, record, end)
    if (wrong !== undefined) throw new BrokerError('ARGUMENT_INVALID', wrong)
    if (entry === undefined) return this.#endAgain(record, position, end.outcome)
    const isDispatched = end.outcome === 'commit' && (half.found & SCAN.dispatched) !== 0
    if (isDispatched && !isRoomTaken) {
      const again = (): Promise<void> => this.#endOld(end, undefined, true)
      return this.#parts.dispatchBudget.within(dispatchesOf(half.own), again)
    }
    const draft =
      end.outcome === 'rollback' ? undefined : this.#draft(half, record, entry, position)
    await this.#append(entry, draft)
    if (end.outcome === 'rollback' || draft !== undefined) return
    throw new BrokerError(
      'TOPIC_NOT_FOUND',
      `the topic '${half.topic}' of the half message was deleted, and its message with it`,
    )
  }

  /** The message that a commit stores; undefined: its topic is gone. */
  #draft(
    half: Half,
    record: RecordView,
    entry: DueEntry,
    place: LogPosition,
  ): StoreDraft | undefined {
    const { store, topics, clock } = this.#parts
    const topic = topics.find(half.topic)
    if (topic === undefined || store.isDropped(record)) return undefined
    const queueId = half.queueId % topic.definition.writeQueues
    return committedDraft(record, half, queueId, entry, place, clock.now())
  }

  /** As a check leaves it that is under way: that may copy the half message, or give it up. */
  async #parked(
    position: LogPosition,
    first?: Parked | Promise<Parked | undefined>,
  ): Promise<Parked | undefined> {
    const { store, dueTimer } = this.#parts
    for (let looked = first; ; looked = undefined) {
      const parked = await (looked ?? store.parked(position))
      const checked = parked?.entry && dueTimer.whenEnded(parked.entry)
      if (checked === undefined) return parked
      await checked
    }
  }

  #append(entry: DueEntry, draft: StoreDraft | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      void this.#add({
        entry,
        draft,
        settle: (error) => (error === undefined ? resolve() : reject(error)),
      })
    })
  }

  /** @returns what settles with all ends of this turn */
  #add(ending: HalfEnd): Promise<void> {
    this.#turn ??= this.#newTurn()
    this.#turn.endings.push(ending)
    return this.#turn.settled
  }

  #newTurn(): Turn {
    const endings: HalfEnd[] = []
    const settled = new Promise<void>((resolve) => {
      process.nextTick(() => {
        this.#turn = undefined
        // Apart: on a full disk commits are refused, which are new messages.
        const rolledBack = endings.filter(({ draft }) => draft === undefined)
        const committed = endings.filter(({ draft }) => draft !== undefined)
        const written = [...this.#writeParts(rolledBack), ...this.#writeParts(committed)]
        // None rejects.
        void Promise.all(written).then(() => resolve())
      })
    })
    return { endings, settled }
  }

  #writeParts(endings: readonly HalfEnd[]): Promise<void>[] {
    const written: Promise<void>[] = []
    let group: HalfEnd[] = []
    let bytes = 0
    for (const ending of endings) {
      group.push(ending)
      bytes += (ending.draft?.body.length ?? 0) + (ending.draft?.properties.length ?? 0)
      if (bytes < APPEND_BYTES_TARGET) continue
      written.push(this.#write(group))
      group = []
      bytes = 0
    }
    if (group.length > 0) written.push(this.#write(group))
    return written
  }

  #write(endings: readonly HalfEnd[]): Promise<void> {
    const { store, dueTimer } = this.#parts
    const messages: StoreDraft[] = []
    for (const { draft } of endings) if (draft !== undefined) messages.push(draft)
    const fired = endings.map(({ entry }) => entry)
    const hasDelayed = messages.some(({ dueMs }) => dueMs !== undefined)
    const settle = (error?: BrokerError): void => {
      // Also what no slave confirmed is in the log.
      if (hasDelayed) dueTimer.arm()
      for (const ending of endings) ending.settle(error)
    }
    return store.append({ messages, fired, isNew: messages.length > 0 }).then(
      () => settle(),
      (thrown: unknown) => settle(BrokerError.from(thrown)),
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
