// What becomes of a message that a consumer holds: it stays in its place and comes again, a copy of
// it waits in the retry topic, or it goes to the dead letters.
import type { Clock } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import { retryDelayMs } from '../../model/delay-levels.ts'
import type { HandBack, Settlement, SettleResult, Verdict } from '../../model/message.ts'
import type { GroupTable } from '../definitions/groups.ts'
import type { TopicTable } from '../definitions/topics.ts'
import type { AppendedToo } from '../publish/publisher.ts'
import type { GroupQueue } from './held/group-queue.ts'
import type { Entry } from './held/unsettled.ts'
import { type Held, JointSettlement, type Step } from './joint-settlement.ts'
import type { QueueLanes } from './queue-lanes.ts'
import type { ReceivingGroup } from './receiving-group.ts'
import { exhausted, type Retries, type RetryDestination } from './retries.ts'

/** How long an ordered message waits in place for its next attempt (RocketMQ's suspend time). */
const ORDERED_RETRY_MS = 1000

interface Parts {
  readonly clock: Clock
  readonly topics: TopicTable
  readonly groups: GroupTable
  readonly retries: Retries
  readonly lanes: QueueLanes
}

export class Settling {
  readonly #parts: Parts

  constructor(parts: Parts) {
    this.#parts = parts
  }

  /** A consumer says no. The first time the message comes again at once, in its place. */
  failed(
    held: Held,
    delayMs: number | undefined,
    handBack: HandBack,
  ): SettleResult | Promise<SettleResult> {
    const isSetAside = take(held, handBack) && handBack.isNotHere === true
    const next = this.#afterFailure(held, delayMs, isSetAside)
    if (typeof next === 'object') return this.move(held, next)
    held.entry.attempts++
    held.group.moved(held.queue)
    return this.#stay(held, next)
  }

  /** Where the message goes, or after how many ms it comes again in its place. */
  #afterFailure(
    { group, entry }: Held,
    delayMs: number | undefined,
    isSetAside: boolean,
  ): RetryDestination | number {
    const failed = entry.reconsumeTimes + entry.attempts + 1
    const max = this.#retryTimesMax(group)
    if (failed > max) return { deadBecause: exhausted(max) }
    if (delayMs === undefined && (isSetAside || failed === 1)) return 0
    if (!entry.isOrdered && !isSetAside) return { delayMs: delayMs ?? retryDelayMs(failed - 2) }
    return delayMs ?? ORDERED_RETRY_MS
  }

  /** Available again in its place, at once or after so many ms. */
  #stay(held: Held, afterMs: number): SettleResult {
    if (afterMs === 0) return this.makeReady(held)
    const { group, queue, entry } = held
    queue.park(entry, this.#parts.clock.monotonic() + afterMs)
    group.expects(queue)
    group.leftSome()
    return null
  }

  /** Available again at once, in its place. */
  makeReady({ group, queue, entry }: Held): SettleResult {
    queue.makeReady(entry)
    group.wakeFor(queue.cursor.topic)
    return null
  }

  /** A failed attempt, and available again at once. */
  countInPlace(held: Held): SettleResult | Promise<SettleResult> {
    const { group, queue, entry } = held
    const max = this.#retryTimesMax(group)
    if (entry.reconsumeTimes + entry.attempts + 1 > max) {
      return this.move(held, { deadBecause: exhausted(max) })
    }
    entry.attempts++
    group.moved(queue)
    return this.makeReady(held)
  }

  async move({ group, queue, entry }: Held, destination: RetryDestination): Promise<SettleResult> {
    const result = await this.#parts.retries.move(queue, entry, destination)
    // Stayed or gone, the queue may have a new deadline or room for more.
    group.expects(queue)
    group.wakeFor(queue.cursor.topic)
    return result
  }

  /** One that its consumer does not want counts as a failure where it cannot be set aside. */
  released(held: Held, handBack: HandBack): SettleResult | Promise<SettleResult> {
    return take(held, handBack) ? this.makeReady(held) : this.failed(held, undefined, NOTHING_MORE)
  }

  /** Of what its consumer has, only that which it was handed first can be what keeps it busy. */
  expired(group: ReceivingGroup, queue: GroupQueue, entry: Entry): void {
    const held = { group, queue, entry }
    if (entry.poppedAt > 0 && entry.serial !== 0) {
      this.#popExpired(held)
      return
    }
    const holder = entry.serial === 0 ? undefined : entry.holder
    if (holder !== undefined) holder.suspect ??= group.firstHeldBy(holder)
    // The receipt is void, so no answer is waited for.
    entry.serial = 0
    if (holder?.suspect === entry) void this.countInPlace(held)
    else this.makeReady(held)
  }

  /** Each message counts by itself: how its consumer works on them is not known. */
  #popExpired(held: Held): void {
    // Its name is void, so no answer is waited for.
    held.entry.serial = 0
    if (held.entry.isSuspended) this.makeReady(held)
    else void this.failed(held, 0, NOTHING_MORE)
  }

  /**
   * All of them in the one append that `append` makes, or none.
   * `find` throws where one of them is its consumer's no longer.
   * @throws RECEIPT_EXPIRED, and what `append` throws
   */
  async together<T>(
    settlements: readonly Settlement[],
    find: () => Held[],
    append: (also: AppendedToo) => Promise<T>,
  ): Promise<T> {
    const { lanes, topics, retries } = this.#parts
    const found = find()
    if (new Set(found.map(({ entry }) => entry)).size < found.length) throw settledTwice()
    return lanes.run(new Set(found.map(({ queue }) => queue)), async () => {
      const undoings = found.map(keptAsItIs)
      try {
        const steps: Step[] = []
        for (const [i, { verdict }] of settlements.entries()) {
          const step = this.#stepOf(found[i]!, verdict)
          steps.push(step instanceof Promise ? await step : step)
        }
        // From here to the append nothing waits, so that what is found now holds.
        find()
        return await new JointSettlement(steps, topics, retries).run(append)
      } catch (error) {
        for (const undo of undoings) undo()
        throw error
      }
    })
  }

  #stepOf(held: Held, verdict: Verdict): Step | Promise<Step> {
    switch (verdict.kind) {
      case 'ack':
        return { leaves: true, held, copy: undefined }
      case 'deadLetter':
        return this.#leaving(held, { deadBecause: verdict.reason })
      case 'release':
        if (!take(held, verdict.handBack ?? {})) return this.#failing(held, undefined, false)
        return { leaves: false, held, isCounted: false, stay: () => this.makeReady(held) }
      case 'nack': {
        const { delayMs, handBack = {} } = verdict
        const isSetAside = take(held, handBack) && handBack.isNotHere === true
        return this.#failing(held, delayMs, isSetAside)
      }
    }
  }

  #failing(held: Held, delayMs: number | undefined, isSetAside: boolean): Step | Promise<Step> {
    const next = this.#afterFailure(held, delayMs, isSetAside)
    if (typeof next === 'object') return this.#leaving(held, next)
    return { leaves: false, held, isCounted: true, stay: () => this.#stay(held, next) }
  }

  async #leaving(held: Held, destination: RetryDestination): Promise<Step> {
    const copy = await this.#parts.retries.copyOf(held.queue, held.entry, destination)
    if (!(copy instanceof BrokerError)) return { leaves: true, held, copy }
    if (copy.code !== 'MESSAGE_TOO_LARGE' || 'deadBecause' in destination) throw copy
    // Without room for what a retry adds it waits in its place.
    const { delayMs } = destination
    return { leaves: false, held, isCounted: true, stay: () => this.#stay(held, delayMs) }
  }

  #retryTimesMax(group: ReceivingGroup): number {
    return this.#parts.groups.need(group.name).retryTimesMax
  }
}

const NOTHING_MORE: HandBack = {}

/**
 * Keeps the note that comes back with the message. False when it should be set aside and there is
 * no room for it.
 */
function take({ queue, entry }: Held, { isNotHere, note }: HandBack): boolean {
  if (note !== undefined) entry.note = note
  return isNotHere !== true || entry.holder === undefined || queue.keepFrom(entry, entry.holder.id)
}

/** Takes back what `take` does to a message, while that is still with its consumer. */
function keptAsItIs({ queue, entry }: Held): () => void {
  const { serial, note } = entry
  const notFor = entry.notFor && [...entry.notFor]
  return () => {
    if (queue.held(entry.offset, serial) === undefined) return
    entry.note = note
    entry.notFor = notFor
  }
}

const settledTwice = (): BrokerError =>
  new BrokerError('RECEIPT_EXPIRED', 'one delivery is settled twice in one call')
