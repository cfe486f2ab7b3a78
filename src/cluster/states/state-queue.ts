// One queue of the state topic as this gateway sees it: what it appends, and what all gateways
// appended, followed from the first record on. A change is settled when it was read back: only then
// is it known whether it held.
import { within } from '../../client/calls/abort.ts'
import { type Clock, sleep } from '../../clock.ts'
import { BrokerError, type ErrorCode } from '../../errors.ts'
import { NO_HOST } from '../../model/host.ts'
import type {
  NewMessage,
  PublishReceipt,
  PublishResult,
  PullRequest,
  PullResult,
} from '../../model/message.ts'
import { type QueueOffset, queueOffset } from '../../model/positions.ts'
import { encodeProperties, PROPERTY } from '../../model/properties.ts'
import { recordsOf } from '../../model/record.ts'
import { EVERY_TAG } from '../../model/tag-filter.ts'
import type { QueueRef } from '../../remoting/requests/queue.ts'
import { Silence } from './silence.ts'
import { loadSnapshot, saveSnapshot } from './snapshots.ts'
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
/** One that could not be read just now. */
const AWAY_MS = 500

export interface QueueParts {
  readonly clock: Clock
  readonly gateway: string
  publish(messages: readonly NewMessage[]): Promise<readonly PublishResult[]>
  pull(request: PullRequest): Promise<PullResult>
  /** A record of any gateway was read. */
  applied(record: StateRecord, applied: Applied, queue: StateQueue): void
  /** A state without an owner. */
  freed(id: string): void
  /** The queue is another one than before: what was read of it then holds no longer. */
  renewed(before: StateView, queue: StateQueue): void
  /** Records of the topic with the key, on that broker, newest first. */
  find(brokerName: string, key: string): Promise<readonly Buffer[]>
  /** Makes the topic on the broker where that has it no more; answers whether it did. */
  remake(brokerName: string): Promise<boolean>
  /** The masters that keep states, and as the record that says so has them. */
  readonly brokerNames: readonly string[]
  readonly layout: Buffer
}

type Asked = Pick<StateRecord, 'kind' | 'id'> & Partial<StateRecord>

export class StateQueue {
  view = new StateView()
  readonly queue: QueueRef
  readonly #parts: QueueParts
  readonly #waiting = new Map<number, (outcome: StateOutcome) => void>()
  readonly #stop = new AbortController()
  #silence: Silence
  #nonce = 0
  #next: QueueOffset = queueOffset(0)
  /** Where it is read from is known. */
  #isOpen = false
  #isRead = false
  /** What it was before it is read from the beginning again. */
  #before: StateView | undefined
  #hasLayout = false
  /** Records since the newest snapshot, and the time of that. */
  #since = 0
  #keptMs = 0
  #isKeeping = false
  /** Answers in a row that skip a record. */
  #skipped = 0
  /** Answers in a row that deny what was read. */
  #denied = 0
  /** The last read failed. */
  #isAway = false
  readonly #whenRead: (() => void)[] = []
  readonly #whenHere: (() => void)[] = []

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
    const timeoutMs = this.#isAway ? AWAY_MS : READ_MS
    await within(whenRead, { timeoutMs }, this.#parts.clock, what).catch((error: unknown) => {
      throw away(this.queue, BrokerError.from(error))
    })
  }

  /** undefined: its broker is there, as far as is known. */
  untilHere(): Promise<void> | undefined {
    if (!this.#isAway) return undefined
    const here = new Promise<void>((resolve) => this.#whenHere.push(resolve))
    const { topic, brokerName } = this.queue
    const what = `reading '${topic}' on '${brokerName}'`
    return within(here, { timeoutMs: READ_MS }, this.#parts.clock, what).catch((error: unknown) => {
      throw away(this.queue, BrokerError.from(error))
    })
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

  async #write(asked: Asked & { nonce: number }): Promise<PublishReceipt> {
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
    if (!(result instanceof BrokerError)) return result!
    if (AWAY.has(result.code)) throw away(this.queue, result)
    throw CLOSED.has(result.code) ? closed(this.queue, result) : result
  }

  async #follow(): Promise<void> {
    const { signal } = this.#stop
    const { topic, brokerName, queueId } = this.queue
    while (!signal.aborted) {
      try {
        if (!this.#isOpen) await this.#open()
        const result = await this.#parts.pull({
          ...{ topic, brokerName, queueId, offset: this.#next, signal },
          maxMessages: 32,
          maxBytes: READ_BYTES,
          filter: EVERY_TAG,
          waitMs: this.#isRead ? HELD_MS : 0,
        })
        this.#onHere()
        this.#read(result)
        const isSkipped = result.status === 'no-match'
        if (result.status === 'moved' || isSkipped) await sleep(this.#parts.clock, PAUSE_MS, signal)
      } catch (error) {
        this.#isAway = true
        if (!signal.aborted && AWAY.has(BrokerError.from(error).code)) await this.#onAway()
        await sleep(this.#parts.clock, PAUSE_MS, signal).catch(() => {})
      }
    }
  }

  #onHere(): void {
    this.#isAway = false
    for (const told of this.#whenHere.splice(0)) told()
  }

  /** From the newest snapshot on, else from the first record. */
  async #open(): Promise<void> {
    const { pull, find } = this.#parts
    const found = await loadSnapshot({ queue: this.queue, pull, find })
    this.view = new StateView(found?.image)
    this.#silence = new Silence(this.#parts.gateway)
    for (const [gateway, atMs] of found?.image.heard ?? []) {
      this.#silence.heard(gateway, atMs, false)
    }
    this.#next = found?.at ?? queueOffset(0)
    this.#hasLayout = found !== undefined
    this.#keptMs = this.view.seenMs
    this.#since = 0
    this.#isOpen = true
  }

  /** What was read is the queue's no longer: it is read from the beginning. */
  #reopen(): void {
    this.#before ??= this.view
    this.#denied = 0
    this.#isOpen = false
    this.#isRead = false
  }

  /** Its broker is away, or an operator deleted the topic: then it is made again, and empty. */
  async #onAway(): Promise<void> {
    if (await this.#parts.remake(this.queue.brokerName).catch(() => false)) this.#reopen()
  }

  #read({ records, nextOffset, maxOffset, status }: PullResult): void {
    for (const record of recordsOf(records)) {
      const stored = decodeStateRecord(record)
      this.#next = queueOffset(record.queueOffset + 1)
      this.#since++
      if (stored === undefined) continue
      if (stored.kind === 'layout') this.#hasLayout = true
      const applied = this.view.apply(stored, record.queueOffset + 1, record.storeTimestamp)
      if (stored.gateway === this.#parts.gateway) this.#waiting.get(stored.nonce)?.(applied.outcome)
      this.#parts.applied(stored, applied, this)
      this.#look(stored)
    }
    // The topic was made anew, or its broker lost its newest records; one that has just begun may
    // say so for a moment.
    this.#denied = status === 'moved' && maxOffset < this.#next ? this.#denied + 1 : 0
    if (this.#denied > 0) {
      if (this.#denied >= SKIPPED_MAX) this.#reopen()
      return
    }
    // A broker that compacts the queue now may answer so for a record that is there.
    this.#skipped = status === 'no-match' ? this.#skipped + 1 : 0
    if (status === 'no-match' && this.#skipped < SKIPPED_MAX) return
    // A place that compaction took has no record: the end is where our own place is. An answer with
    // records may name an offset behind ones that it has not: Apache's broker shows them later.
    if (status === 'no-match' || status === 'moved') {
      this.#next = queueOffset(Math.max(this.#next, nextOffset))
    }
    if (this.#isRead) {
      this.#keepIfDue()
      return
    }
    if (this.#next >= maxOffset) this.#onRead()
  }

  /** All that was there has been read. */
  #onRead(): void {
    this.#isRead = true
    if (this.#before !== undefined) this.#parts.renewed(this.#before, this)
    this.#before = undefined
    if (!this.#hasLayout) {
      this.#hasLayout = true
      void this.tell({ kind: 'layout', id: '', value: this.#parts.layout })
    }
    for (const id of this.view.leftBy(undefined)) this.#parts.freed(id)
    for (const told of this.#whenRead) told()
  }

  /** The first gateway that lives writes it. */
  #keepIfDue(): void {
    const { gateway, brokerNames } = this.#parts
    const isDue =
      this.#since > Math.max(SINCE_MAX, 4 * this.view.size) ||
      this.view.seenMs - this.#keptMs > KEPT_MS
    if (!isDue || this.#isKeeping || !this.view.isFirst(gateway)) return
    this.#isKeeping = true
    const snapshot = { at: this.#next, image: this.view.image(), brokerNames }
    const write = (asked: Asked) => this.#write({ ...asked, nonce: ++this.#nonce })
    saveSnapshot({ queue: this.queue, write }, snapshot)
      .catch(() => {})
      .finally(() => {
        this.#isKeeping = false
      })
  }

  /** What the record, or the time that it tells, leaves without an owner. */
  #look({ kind, id, gateway }: StateRecord): void {
    const { view } = this
    this.#silence.heard(gateway, view.nowMs, kind === 'beat')
    if (this.#keptMs === 0) this.#keptMs = view.seenMs
    if (kind === 'snapshotEnd') {
      this.#since = 0
      this.#keptMs = view.seenMs
    }
    if (!this.#isRead) return
    if (kind === 'release' && view.isFree(id)) this.#parts.freed(id)
    if (kind !== 'beat') return
    for (const silent of this.#silence.fallen(view.nowMs)) {
      for (const left of view.leftBy(silent)) if (view.isFree(left)) this.#parts.freed(left)
    }
  }
}

const EMPTY = Buffer.alloc(0)

/** A start reads no more records of a queue than about these, and four for each state. */
const SINCE_MAX = 50_000
/** Half of the shortest retention of the topic that does no harm. */
const KEPT_MS = 3_600_000
/** Asked so often for a record that is skipped, or denied. */
const SKIPPED_MAX = 10

/** What a send says where the queue's master is in no route. */
const AWAY: ReadonlySet<ErrorCode> = new Set(['QUEUE_NOT_FOUND', 'NO_ROUTE', 'TOPIC_NOT_FOUND'])

/** Its broker is read-only, is full, or lets no gateway write; it keeps nothing for later. */
const CLOSED: ReadonlySet<ErrorCode> = new Set(['PERMISSION_DENIED', 'READ_ONLY'])

const away = ({ brokerName }: QueueRef, cause: BrokerError): BrokerError =>
  new BrokerError('UNREACHABLE', `the broker '${brokerName}', which keeps this state, is away`, {
    cause,
  })

/** It is the gateway that is refused, and none of its clients. */
const closed = ({ topic, brokerName }: QueueRef, cause: BrokerError): BrokerError =>
  new BrokerError(
    'UNREACHABLE',
    `the broker '${brokerName}', which keeps this state in '${topic}', takes no writes of a gateway`,
    { cause },
  )

const unread = (id: string): BrokerError =>
  new BrokerError('TIMED_OUT', `what became of the state '${id.slice(0, 80)}' is not known`)
