// The queues that a member reads: begins and ends their readers as its share changes, holds the
// locks of those read in order, and commits how far each came where its pulls do not carry that
// soon enough.
import { sleep } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import type { MessageFilter } from '../../model/message-filter.ts'
import { queueKey } from '../../remoting/allocation.ts'
import type { QueueRef } from '../../remoting/requests/queue.ts'
import type { HeldQueue } from '../../remoting/requests/relay.ts'
import { commitOffset } from '../calls/calls.ts'
import type { Brokers } from '../routes/brokers.ts'
import { QueueLeases } from './queue-leases.ts'
import { QueueReader, type ReaderOwner } from './queue-reader.ts'
import { startOffset } from './start-offset.ts'

/** A broker that is slow must hold up neither a rebalance nor a close. */
const COMMIT_TIMEOUT_MS = 1000
/**
 * How long progress may wait for a pull to carry it. A commit follows a pull that carried one by as
 * much, or it could overtake it at a broker that handles the two side by side.
 */
export const COMMIT_MS = 200
/** After a commit that failed; the next pull carries it anyway. */
const COMMIT_AGAIN_MS = 5000

export class Assignment {
  readonly #owner: ReaderOwner
  readonly #brokers: Brokers
  readonly #leases: QueueLeases | undefined
  readonly #signal: AbortSignal
  readonly #readers = new Map<string, QueueReader>()
  /**
   * Queues that a topic had when it was first looked at: one that appears later has only new
   * messages.
   */
  readonly #firstSeen = new Map<string, ReadonlySet<string>>()
  /** How often the group was moved: what a broker answered before may be the old place. */
  #moves = 0

  /** @param signal no reader begins after it */
  constructor(owner: ReaderOwner, brokers: Brokers, clientId: string, signal: AbortSignal) {
    const { group, ordered, broadcasting } = owner.options
    this.#owner = owner
    this.#brokers = brokers
    this.#signal = signal
    if (ordered && !broadcasting) {
      const holder = { clientId, consumerGroup: group }
      this.#leases = new QueueLeases(holder, owner.clock, brokers)
    }
  }

  get queues(): number {
    return this.#readers.size
  }

  /** Messages that are read and not settled. */
  get unsettled(): number {
    let count = 0
    for (const reader of this.#readers.values()) count += reader.unsettled
    return count
  }

  queuesOf(topic: string): readonly string[] {
    return [...this.#readers.values()]
      .filter(({ queue }) => queue.topic === topic)
      .map(({ queue }) => `${queue.brokerName}:${queue.queueId}`)
  }

  /** Each with how far it came and what of it is not settled. */
  held(): HeldQueue[] {
    return [...this.#readers.values()].map(({ queue, committable, unsettled }) => ({
      queue,
      committed: committable,
      held: unsettled,
    }))
  }

  /** The topic is not there: whatever queues it will have are new. */
  missing(topic: string): void {
    this.#firstSeen.set(topic, new Set())
  }

  /** There is room again. */
  wake(): void {
    for (const reader of this.#readers.values()) reader.wake()
  }

  /**
   * Makes the readers of a topic those of the share out of all its queues: whether anything
   * changed, and whether all could begin or end yet. Rejects with what a broker refuses.
   */
  async become(
    topic: string,
    filter: MessageFilter,
    share: readonly QueueRef[],
    all: readonly QueueRef[],
  ): Promise<{ isChanged: boolean; isComplete: boolean }> {
    if (!this.#firstSeen.has(topic)) this.#firstSeen.set(topic, new Set(all.map(queueKey)))
    const wanted = new Set(share.map(queueKey))
    const dropped = [...this.#readers.values()].filter(
      ({ queue, isRetired }) =>
        queue.topic === topic && (isRetired || !wanted.has(queueKey(queue))),
    )
    const drops = await Promise.all(dropped.map((reader) => this.#drop(reader)))
    const added = share.filter((queue) => !this.#readers.has(queueKey(queue)))
    await this.#leases?.take(added)
    const starts = await Promise.all(added.map((queue) => this.#begin(queue, filter)))
    return {
      isChanged: dropped.length > 0 || added.length > 0,
      isComplete: ![...drops, ...starts].includes(false),
    }
  }

  /** Whether a queue was lost, which is to be asked for again. */
  async renewLeases(): Promise<boolean> {
    const leases = this.#leases
    if (leases === undefined) return false
    await leases.renew().catch((error) => this.#owner.failed(BrokerError.from(error)))
    const lost = [...this.#readers.values()].filter(({ queue }) => !leases.holds(queue))
    await Promise.all(lost.map((reader) => this.#drop(reader)))
    return lost.length > 0
  }

  /**
   * Begins a queue anew at the next `become`: an operator moved the group. Nothing where it is not
   * read here.
   */
  move(queue: QueueRef, offset: number): void {
    this.#moves++
    this.#readers.get(queueKey(queue))?.move(offset)
  }

  /**
   * Where there is a connection now. Settles with when to come again for the rest; never
   * rejects.
   */
  async commitAll(): Promise<number | undefined> {
    const now = this.#owner.clock.monotonic()
    const commits: Promise<void>[] = []
    let againMs: number | undefined
    for (const reader of this.#readers.values()) {
      const { queue, progress, committable } = reader
      const connection = this.#brokers.open(queue.brokerName)
      if (connection === undefined || progress.isTold(committable, connection)) continue
      if (now - progress.carriedAt < COMMIT_MS) againMs = COMMIT_MS
      else commits.push(this.#commit(reader))
    }
    for (const settled of await Promise.allSettled(commits)) {
      if (settled.status === 'fulfilled') continue
      this.#owner.failed(BrokerError.from(settled.reason))
      againMs = COMMIT_AGAIN_MS
    }
    return againMs
  }

  /**
   * Reads no more, gives `drained` its time, then commits and unlocks where there is a connection.
   */
  async close(drained: () => Promise<void>): Promise<void> {
    const readers = [...this.#readers.values()]
    await Promise.all(readers.map((reader) => reader.stop()))
    await drained()
    // Before the last commit: what is settled behind it would come again.
    for (const reader of readers) reader.giveUp()
    const reachable = readers.filter(({ queue }) => this.#brokers.open(queue.brokerName))
    await Promise.allSettled(reachable.map((reader) => this.#commitLast(reader)))
    await this.#leases?.give(reachable.map(({ queue }) => queue)).catch(() => {})
  }

  /** False when it cannot begin yet: another member has its lock, or its broker is away. */
  async #begin(queue: QueueRef, filter: MessageFilter): Promise<boolean> {
    if (this.#leases?.holds(queue) === false) return false
    const { group, from, broadcasting } = this.#owner.options
    const committer = broadcasting ? undefined : group
    const isNew = this.#firstSeen.get(queue.topic)?.has(queueKey(queue)) === false
    const signal = this.#signal
    try {
      const connection = await this.#brokers.connection(queue.brokerName, { signal })
      const moves = this.#moves
      const start = await startOffset(connection, committer, queue, from, isNew, { signal })
      if (signal.aborted) return true
      if (moves !== this.#moves) return false
      const reader = new QueueReader(queue, filter, start.offset, this.#owner)
      if (start.isCommitted) reader.progress.tell(start.offset, connection)
      this.#readers.set(queueKey(queue), reader)
      reader.start()
      return true
    } catch (thrown) {
      const error = BrokerError.from(thrown)
      if (signal.aborted || !error.retryable) throw error
      this.#owner.failed(error, queue)
      return false
    }
  }

  /** In order the message in hand is finished first; until then the queue is kept. */
  async #drop(reader: QueueReader): Promise<boolean> {
    const { queue } = reader
    if (this.#leases !== undefined) {
      reader.retire()
      if (reader.isBusy) return false
    }
    this.#readers.delete(queueKey(queue))
    await reader.stop()
    reader.giveUp()
    // Without a lock the next member may commit further at once, which a second commit would undo.
    if (this.#leases === undefined) await this.#commit(reader).catch(() => {})
    else if (this.#leases.holds(queue)) await this.#commitLast(reader).catch(() => {})
    await this.#leases?.give([queue]).catch(() => {})
    return true
  }

  /**
   * At once; and once more where a pull that carried less is on its way, which a broker may handle
   * beside the first.
   */
  async #commitLast(reader: QueueReader): Promise<void> {
    const { progress } = reader
    await this.#commit(reader)
    if (!progress.isCarried) return
    const { clock } = this.#owner
    const waitMs = progress.carriedAt + COMMIT_MS - clock.monotonic()
    if (waitMs <= 0) return
    await sleep(clock, waitMs)
    progress.forget()
    await this.#commit(reader)
  }

  /** Behind the one under way, which a broker may handle beside it, and which may fail. */
  #commit(reader: QueueReader): Promise<void> {
    const { progress } = reader
    const commit = (): Promise<void> => this.#commitNow(reader)
    const committing = progress.committing.then(commit, commit)
    progress.committing = committing
    return committing
  }

  async #commitNow(reader: QueueReader): Promise<void> {
    const { group, broadcasting } = this.#owner.options
    if (broadcasting) return
    const { queue, progress, committable } = reader
    const options = { timeoutMs: COMMIT_TIMEOUT_MS }
    const connection = await this.#brokers.connection(queue.brokerName, options)
    if (progress.isTold(committable, connection)) return
    progress.tell(committable, connection)
    try {
      await commitOffset(connection, group, queue, committable, options)
    } catch (error) {
      progress.forget()
      throw error
    }
  }
}
