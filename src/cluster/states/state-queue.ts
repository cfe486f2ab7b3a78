// One queue of the state topic as this gateway sees it: what it appends, and what all gateways
// appended, followed from the first record on. A change is settled when it was read back: only then
// is it known whether it held.
import { within } from '../../client/calls/abort.ts'
import { type Clock, sleep } from '../../clock.ts'
import { BrokerError, type ErrorCode } from '../../errors.ts'
import { NO_HOST } from '../../model/host.ts'
import type { NewMessage, PublishResult, PullRequest, PullResult } from '../../model/message.ts'
import { type QueueOffset, queueOffset } from '../../model/positions.ts'
import { encodeProperties, PROPERTY } from '../../model/properties.ts'
import { recordsOf } from '../../model/record.ts'
import { EVERY_TAG } from '../../model/tag-filter.ts'
import type { QueueRef } from '../../remoting/requests/queue.ts'
import { Silence } from './silence.ts'
import {
  ANY_VERSION,
  decodeStateRecord,
  encodeStateRecord,
  keyOf,
  type StateRecord,
} from './state-record.ts'
import { type Applied, type StateOutcome, StateView } from './state-view.ts'

const HELD_MS = 15_000
const PAUSE_MS = 200
const READ_BYTES = 1024 * 1024
/** An acknowledged record is there for readers some milliseconds later. */
const READ_BACK_MS = 10_000
/** A queue whose broker is away is not waited for longer. */
const READ_MS = 10_000

export interface QueueParts {
  readonly clock: Clock
  readonly gateway: string
  publish(messages: readonly NewMessage[]): Promise<readonly PublishResult[]>
  pull(request: PullRequest): Promise<PullResult>
  /** A record of any gateway was read. */
  applied(record: StateRecord, applied: Applied, queue: StateQueue): void
  /** A state without an owner. */
  freed(id: string): void
}

type Asked = Pick<StateRecord, 'kind' | 'id'> & Partial<StateRecord>

export class StateQueue {
  readonly view = new StateView()
  readonly queue: QueueRef
  readonly #parts: QueueParts
  readonly #waiting = new Map<number, (outcome: StateOutcome) => void>()
  readonly #stop = new AbortController()
  readonly #silence: Silence
  #nonce = 0
  #next: QueueOffset = queueOffset(0)
  #isRead = false
  readonly #whenRead: (() => void)[] = []

  constructor(queue: QueueRef, parts: QueueParts) {
    this.queue = queue
    this.#parts = parts
    this.#silence = new Silence(parts.gateway)
    void this.#follow()
  }

  /** All that was there when it was opened has been read. */
  async read(): Promise<void> {
    if (this.#isRead) return
    const whenRead = new Promise<void>((resolve) => this.#whenRead.push(resolve))
    const { topic, brokerName } = this.queue
    const what = `reading '${topic}' on '${brokerName}'`
    await within(whenRead, { timeoutMs: READ_MS }, this.#parts.clock, what)
  }

  /**
   * Settles with what became of it; `onRead` is told that as the record is read, before those
   * behind it. Rejects with a BrokerError when it is not known: it may hold.
   */
  append(asked: Asked, onRead?: (outcome: StateOutcome) => void): Promise<StateOutcome> {
    const nonce = ++this.#nonce
    return new Promise<StateOutcome>((resolve, reject) => {
      const timer = this.#parts.clock.after(READ_BACK_MS, () => fail(unread(asked.id)))
      const over = (): void => {
        timer.cancel()
        this.#waiting.delete(nonce)
      }
      const fail = (error: unknown): void => {
        over()
        reject(error)
      }
      this.#waiting.set(nonce, (outcome) => {
        over()
        onRead?.(outcome)
        resolve(outcome)
      })
      this.#write({ ...asked, nonce }).catch(fail)
    })
  }

  /** Without waiting for what becomes of it. Never rejects. */
  async tell(asked: Asked): Promise<void> {
    await this.#write({ ...asked, nonce: ++this.#nonce }).catch(() => {})
  }

  close(): void {
    this.#stop.abort(new BrokerError('CLOSED', 'the gateway is closed'))
  }

  async #write(asked: Asked & { nonce: number }): Promise<void> {
    const { gateway, clock } = this.#parts
    const { topic, brokerName, queueId } = this.queue
    const record = { number: 0, expected: ANY_VERSION, value: EMPTY, ...asked, gateway }
    const [result] = await this.#parts.publish([
      {
        ...{ topic, brokerName, queueId, flag: 0, sysFlag: 0, reconsumeTimes: 0 },
        bornTimestamp: clock.now(),
        bornHost: NO_HOST,
        createTopic: false,
        ownProperties: true,
        body: encodeStateRecord(record),
        properties: encodeProperties([[PROPERTY.keys, keyOf(record)]]),
      },
    ])
    if (result instanceof BrokerError)
      throw AWAY.has(result.code) ? away(this.queue, result) : result
  }

  async #follow(): Promise<void> {
    const { signal } = this.#stop
    const { topic, brokerName, queueId } = this.queue
    while (!signal.aborted) {
      try {
        const result = await this.#parts.pull({
          ...{ topic, brokerName, queueId, offset: this.#next, signal },
          maxMessages: 32,
          maxBytes: READ_BYTES,
          filter: EVERY_TAG,
          waitMs: this.#isRead ? HELD_MS : 0,
        })
        this.#read(result)
        if (result.status === 'moved') await sleep(this.#parts.clock, PAUSE_MS, signal)
      } catch {
        await sleep(this.#parts.clock, PAUSE_MS, signal).catch(() => {})
      }
    }
  }

  #read({ records, nextOffset, maxOffset, status }: PullResult): void {
    for (const record of recordsOf(records)) {
      const stored = decodeStateRecord(record)
      this.#next = queueOffset(record.queueOffset + 1)
      if (stored === undefined) continue
      const applied = this.view.apply(stored, record.queueOffset + 1, record.storeTimestamp)
      if (stored.gateway === this.#parts.gateway) this.#waiting.get(stored.nonce)?.(applied.outcome)
      this.#parts.applied(stored, applied, this)
      this.#look(stored, record.storeTimestamp)
    }
    // The topic was made anew, or its broker lost its newest records.
    if (status === 'moved' && maxOffset < this.#next) this.#next = maxOffset
    // A place that compaction took has no record: the end is where our own place is.
    else if (status !== 'at-end') this.#next = queueOffset(Math.max(this.#next, nextOffset))
    if (this.#isRead || this.#next < maxOffset) return
    this.#isRead = true
    for (const id of this.view.leftBy(undefined)) this.#parts.freed(id)
    for (const told of this.#whenRead) told()
  }

  /** What the record, or the time that it tells, leaves without an owner. */
  #look({ kind, id, gateway }: StateRecord, storeMs: number): void {
    const { view } = this
    this.#silence.heard(gateway, storeMs, kind === 'beat')
    if (!this.#isRead) return
    if (kind === 'release' && view.isFree(id)) this.#parts.freed(id)
    if (kind !== 'beat') return
    for (const silent of this.#silence.fallen(view.nowMs)) {
      for (const left of view.leftBy(silent)) if (view.isFree(left)) this.#parts.freed(left)
    }
  }
}

const EMPTY = Buffer.alloc(0)

/** What a send says where the queue's master is in no route. */
const AWAY: ReadonlySet<ErrorCode> = new Set(['QUEUE_NOT_FOUND', 'NO_ROUTE', 'TOPIC_NOT_FOUND'])

const away = ({ brokerName }: QueueRef, cause: BrokerError): BrokerError =>
  new BrokerError('UNREACHABLE', `the broker '${brokerName}', which keeps this state, is away`, {
    cause,
  })

const unread = (id: string): BrokerError =>
  new BrokerError('TIMED_OUT', `what became of the state '${id.slice(0, 80)}' is not known`)
