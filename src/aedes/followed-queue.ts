// One queue, read from where it stood on: each record goes to the listeners in the queue's order.
import { type Clock, sleep } from '../clock.ts'
import { BrokerError } from '../errors.ts'
import { queueOffset } from '../model/positions.ts'
import { type RecordView, recordsOf } from '../model/record.ts'
import { EVERY_TAG } from '../model/tag-filter.ts'
import type { Broker } from '../port/broker.ts'
import { type Place, type QueueKey, queueOf } from './queue-key.ts'
import { Repeats, wasResent } from './repeats.ts'
import { READ_BYTES, READ_MESSAGES } from './session-reader.ts'

/** Records of a queue that listeners have and have not let go of: then reading waits. */
const UNFINISHED_MAX = 64
/** For what was told and cannot be read yet. */
const WAIT_MS = 5_000
const RETRY_MS = 500

export interface FollowParts {
  readonly broker: Broker
  readonly clock: Clock
  /** Calls the listeners; settles when all of them have let go. Never rejects. */
  readonly deliver: (record: RecordView, place: Place) => Promise<void>
  /** Reading went on at `next`: what was before it is not there, or was given before. */
  readonly skipped: (next: Place) => void
  readonly troubled: (error: BrokerError) => void
  readonly signal: AbortSignal
}

export class FollowedQueue {
  readonly #key: QueueKey
  readonly #parts: FollowParts
  readonly #repeats: Repeats
  readonly #unfinished = new Set<number>()
  #next: number
  #end = 0
  #isReading = false
  #roomMade: (() => void) | undefined

  constructor(key: QueueKey, next: number, parts: FollowParts) {
    this.#key = key
    this.#next = next
    this.#parts = parts
    this.#repeats = new Repeats(parts.broker, key)
  }

  /** Listeners have been given all before it. */
  get next(): number {
    return this.#next
  }

  /** Listeners have let go of all before it. */
  get done(): number {
    const [first] = this.#unfinished
    return first ?? this.#next
  }

  arrived(end: number): void {
    // A topic that was made again begins anew.
    this.#end = end
    if (this.#isReading || this.#next === end) return
    this.#isReading = true
    void this.#read().finally(() => {
      this.#isReading = false
    })
  }

  async #read(): Promise<void> {
    const { signal, clock, troubled } = this.#parts
    while (this.#next !== this.#end && !signal.aborted) {
      try {
        if (!(await this.#readOnce())) return
      } catch (thrown) {
        if (signal.aborted) return
        const error = BrokerError.from(thrown)
        if (GONE.has(error.code)) return
        troubled(error)
        await sleep(clock, RETRY_MS, signal).catch(() => {})
      }
    }
  }

  /** Answers whether there may be more. */
  async #readOnce(): Promise<boolean> {
    const { broker, signal } = this.#parts
    const before = this.#next
    const { records, status, nextOffset } = await broker.pull({
      ...queueOf(this.#key),
      offset: queueOffset(before),
      maxMessages: READ_MESSAGES,
      maxBytes: READ_BYTES,
      filter: EVERY_TAG,
      waitMs: WAIT_MS,
      signal,
    })
    for (const record of recordsOf(records)) {
      if (this.#unfinished.size >= UNFINISHED_MAX) await this.#room()
      const isRepeat = wasResent(record) && (await this.#repeats.has(record))
      if (signal.aborted) return false
      if (isRepeat) this.#skipTo(record.queueOffset + 1)
      else this.#give(record)
    }
    if (status === 'moved' || nextOffset > this.#next) this.#skipTo(nextOffset)
    return this.#next !== before
  }

  #skipTo(offset: number): void {
    this.#next = offset
    this.#parts.skipped({ key: this.#key, offset })
  }

  #give(record: RecordView): void {
    const offset = record.queueOffset
    this.#unfinished.add(offset)
    this.#next = offset + 1
    void this.#parts.deliver(record, { key: this.#key, offset }).then(() => {
      this.#unfinished.delete(offset)
      this.#roomMade?.()
    })
  }

  async #room(): Promise<void> {
    const { signal } = this.#parts
    while (this.#unfinished.size >= UNFINISHED_MAX && !signal.aborted) {
      await new Promise<void>((resolve) => {
        const end = (): void => {
          signal.removeEventListener('abort', end)
          resolve()
        }
        this.#roomMade = end
        signal.addEventListener('abort', end)
      })
    }
    this.#roomMade = undefined
  }
}

const GONE: ReadonlySet<string> = new Set(['TOPIC_NOT_FOUND', 'QUEUE_NOT_FOUND'])
