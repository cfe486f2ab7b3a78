// Deleting a topic or a group and all that belongs to it, in a fixed order. Everything is forgotten
// and handed to the store in one go, so that a topic made anew by the next message comes after. The
// queues and the definition go with one append: old messages never show under a new topic.
import { type Clock, Slice } from '../clock.ts'
import { BrokerError } from '../errors.ts'
import { groupOfTopic, isNamedQueue, isRetryTopic, retryTopic } from '../model/names.ts'
import type { Fact, MessageStore, StoreStatus } from '../store/store.ts'
import type { CursorTable } from './consume/cursors.ts'
import type { Puller } from './consume/puller.ts'
import type { Receiver } from './consume/receiver.ts'
import { type GroupTable, groupGone } from './definitions/groups.ts'
import type { LightQueueTable } from './definitions/light-queues.ts'
import type { TopicTable } from './definitions/topics.ts'
import { FACT, type FactWriter } from './facts/fact-writer.ts'
import type { QueueLockTable } from './publish/queue-locks.ts'

interface Parts {
  readonly store: MessageStore
  readonly topics: TopicTable
  readonly groups: GroupTable
  readonly cursors: CursorTable
  readonly facts: FactWriter
  readonly lightQueues: LightQueueTable
  readonly puller: Puller
  readonly receiver: Receiver
  readonly locks: QueueLockTable
  readonly clock: Clock
}

export class Removal {
  readonly #parts: Parts

  constructor(parts: Parts) {
    this.#parts = parts
  }

  /**
   * With its messages and every group's cursors on it.
   * @throws TOPIC_NOT_FOUND, PERMISSION_DENIED
   */
  async topic(name: string): Promise<void> {
    if (isNamedQueue(name)) {
      checkNotBusy(this.#parts.store.status())
      await this.#parts.lightQueues.unbindNamed(name, (gone) => this.#endReaders(gone))
      return
    }
    if (this.#parts.topics.need(name).isBuiltIn) {
      throw new BrokerError('PERMISSION_DENIED', `the broker needs the topic '${name}' itself`)
    }
    if (isRetryTopic(name) && this.#parts.groups.find(groupOfTopic(name)) !== undefined) {
      throw new BrokerError(
        'PERMISSION_DENIED',
        `the topic '${name}' goes with its group; delete the group '${groupOfTopic(name)}'`,
      )
    }
    this.#checkWritable()
    this.#parts.topics.forget(name)
    await this.#dropQueue(name, [{ kind: FACT.topic, key: name, value: null }])
  }

  /**
   * With its retry topic, and its cursors unless they are kept. Its dead letters stay, to be looked
   * at.
   */
  async group(name: string, keepsOffsets = false): Promise<void> {
    this.#parts.groups.need(name)
    this.#checkWritable()
    this.#parts.groups.forget(name)
    this.#parts.receiver.dropGroup(name)
    this.#parts.locks.dropGroup(name)
    const cursors = keepsOffsets ? [] : this.#parts.cursors.dropGroup(name)
    const retry = retryTopic(name)
    if (this.#parts.topics.find(retry) === undefined) {
      return this.#parts.facts.write(inTurn([groupGone(name)], cursors))
    }
    this.#parts.topics.forget(retry)
    const definitions = [groupGone(name), { kind: FACT.topic, key: retry, value: null }]
    await this.#dropQueue(retry, definitions, cursors)
  }

  /**
   * The last binding of a light queue takes the queue with it, at once: a bind of the same filter
   * during the removal starts a new queue. The entries are the store's.
   */
  async binding(filter: string, owner: string | undefined): Promise<void> {
    if (owner !== undefined) checkNotBusy(this.#parts.store.status())
    await this.#parts.lightQueues.unbind(filter, owner, (gone) => this.#endReaders(gone))
  }

  /** The last hold of a light queue is one binding less. Never rejects. */
  async hold(filter: string): Promise<void> {
    await this.#parts.lightQueues.letGo(filter, (gone) => this.#endReaders(gone))
  }

  /**
   * Every binding of an owner that is no more: what the log does not take is tried again when it
   * does, unless the filter is bound for a new owner of the name by then. Rejects with the first
   * failure, once all were tried.
   */
  async owner(owner: string): Promise<void> {
    const slice = new Slice(this.#parts.clock)
    const failures: unknown[] = []
    const releasing: Promise<void>[] = []
    for (const filter of this.#parts.lightQueues.boundBy(owner)) {
      if (slice.isOver) await slice.rest()
      const released = this.binding(filter, owner).catch((error: unknown) => {
        this.#parts.lightQueues.isUnwanted(filter, owner)
        failures.push(error)
      })
      releasing.push(released)
    }
    await Promise.all(releasing)
    if (failures.length > 0) throw failures[0]
  }

  /** The store takes writes again. Never rejects: what fails waits on. */
  async unwantedBindings(): Promise<void> {
    const { lightQueues } = this.#parts
    for (const unwanted of lightQueues.unwanted) {
      const { filter, owner } = unwanted
      if (!lightQueues.takeUnwanted(unwanted)) continue
      await this.binding(filter, owner).catch(() => lightQueues.isUnwanted(filter, owner))
    }
  }

  /**
   * Checked first: a definition that was forgotten cannot be brought back when the store refuses.
   */
  #checkWritable(): void {
    const status = this.#parts.store.status()
    const { writable, reason } = status
    if (!writable) throw new BrokerError('READ_ONLY', reason ?? 'the store is read-only')
    checkNotBusy(status)
  }

  async #dropQueue(
    topic: string,
    definitions: readonly Fact[],
    cursors: Iterable<Fact> = [],
  ): Promise<void> {
    const facts = inTurn(definitions, cursors, this.#endReaders(topic))
    await this.#parts.facts.writeBy((part) => this.#parts.store.dropQueues(topic, part), facts)
  }

  /** Answers what makes it durable that every group's place there is gone. */
  #endReaders(topic: string): Iterable<Fact> {
    this.#parts.puller.drop(topic)
    this.#parts.receiver.dropTopic(topic)
    this.#parts.locks.dropTopic(topic)
    return this.#parts.cursors.dropTopic(topic)
  }
}

function checkNotBusy({ isBusy }: StoreStatus): void {
  if (isBusy) throw new BrokerError('BUSY', 'too much waits for the disk: try again soon')
}

function* inTurn(...lists: readonly Iterable<Fact>[]): Generator<Fact> {
  for (const list of lists) yield* list
}
