// Delivers parked messages when they are due: the copy for the real topic and the mark that the
// parked one is done go into one append, so a crash leaves both or neither. One timer for the next
// due; the wall clock decides, and it may jump: nothing fires before its time is there by the
// clock, and a jump ahead is noticed within a minute.
import type { Clock, Timer } from '../clock.ts'
import { BrokerError } from '../errors.ts'
import type { Logger } from '../log.ts'
import { RecordView } from '../model/record.ts'
import type { DueEntry, MessageStore, StoreDraft } from '../store/store.ts'
import { unparked } from './delay.ts'
import { APPEND_BYTES_TARGET } from './options.ts'
import type { TopicTable } from './topics.ts'

const FIRED_AT_ONCE_MAX = 1024
/** Records in memory beside those of the next append: each may be as large as a message gets. */
const READ_AT_ONCE_MAX = 16
/** Timers count time that passed, dues are points of the wall clock: look again this often. */
const LOOK_AGAIN_MS = 60_000
const RETRY_MS = 1000

export class Delays {
  readonly #store: MessageStore
  readonly #topics: TopicTable
  readonly #clock: Clock
  readonly #log: Logger
  #timer: Timer | undefined
  #armedForMs = Number.POSITIVE_INFINITY
  #firing: Promise<void> | undefined
  #isClosed = false

  constructor(store: MessageStore, topics: TopicTable, clock: Clock, log: Logger) {
    this.#store = store
    this.#topics = topics
    this.#clock = clock
    this.#log = log
    this.arm()
  }

  /** A message was parked, the store is writable again, or the broker starts. */
  arm(): void {
    const dueMs = this.#store.nextDueMs()
    if (dueMs === undefined || this.#isClosed || this.#firing !== undefined) return
    if (this.#timer !== undefined && this.#armedForMs <= dueMs) return
    this.#wait(dueMs, dueMs - this.#clock.now())
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#timer?.cancel()
    await this.#firing
  }

  #wait(dueMs: number, delayMs: number): void {
    this.#timer?.cancel()
    this.#armedForMs = dueMs
    this.#timer = this.#clock.after(Math.min(Math.max(0, delayMs), LOOK_AGAIN_MS), () => {
      this.#timer = undefined
      this.#firing ??= this.#fireDue().finally(() => {
        this.#firing = undefined
        if (this.#timer === undefined) this.arm()
      })
    })
  }

  async #fireDue(): Promise<void> {
    try {
      while (!this.#isClosed) {
        const due = this.#store.due(this.#clock.now(), FIRED_AT_ONCE_MAX)
        if (due.length === 0) return
        await this.#fire(due)
      }
    } catch (thrown) {
      const error = BrokerError.from(thrown)
      if (error.code === 'CLOSED') return
      this.#log.warn(
        { evt: 'delays.late', code: error.code },
        `delayed messages wait longer: ${error.message}`,
      )
      if (!this.#isClosed) this.#wait(this.#clock.now() + RETRY_MS, RETRY_MS)
    }
  }

  async #fire(due: readonly DueEntry[]): Promise<void> {
    let messages: StoreDraft[] = []
    let fired: DueEntry[] = []
    let bytes = 0
    for await (const [entry, record] of this.#parked(due)) {
      const draft = this.#destined(entry, record)
      if (draft !== undefined) {
        const size = draft.body.length + draft.properties.length
        if (bytes + size > APPEND_BYTES_TARGET && fired.length > 0) {
          await this.#store.append({ messages, fired })
          messages = []
          fired = []
          bytes = 0
        }
        messages.push(draft)
        bytes += size
      }
      fired.push(entry)
    }
    if (fired.length > 0) await this.#store.append({ messages, fired })
  }

  /** Each with its record, while that is there. */
  async *#parked(due: readonly DueEntry[]): AsyncGenerator<[DueEntry, Buffer | undefined]> {
    for (let at = 0; at < due.length; at += READ_AT_ONCE_MAX) {
      const entries = due.slice(at, at + READ_AT_ONCE_MAX)
      const reads = entries.map((entry) => this.#store.readAt(entry.position))
      const records = await Promise.all(reads)
      for (const [i, entry] of entries.entries()) yield [entry, records[i]]
    }
  }

  /** undefined when there is no longer anything, or any place, to deliver. */
  #destined({ position }: DueEntry, record: Buffer | undefined): StoreDraft | undefined {
    const view = record && new RecordView(record)
    const draft = view && unparked(view)
    if (view === undefined || draft === undefined) {
      this.#log.error(
        { evt: 'delays.damaged', position },
        `the delayed message at log position ${position} is damaged and cannot be delivered`,
      )
      return undefined
    }
    const topic = this.#topics.find(draft.topic)
    if (topic === undefined || this.#store.isDropped(view)) {
      this.#log.info(
        { evt: 'delays.dropped', topic: draft.topic },
        'a delayed message is dropped: its topic was deleted while it waited',
      )
      return undefined
    }
    const { writeQueues } = topic.definition
    return draft.queueId < writeQueues ? draft : { ...draft, queueId: draft.queueId % writeQueues }
  }
}
