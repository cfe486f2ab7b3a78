// Settlements that hold together with whatever else is in their append, or not at all: while it is
// under way the messages are no consumer's, and when it fails they are their consumers' again.
import { BrokerError, isUnconfirmed } from '../../errors.ts'
import type { Fact } from '../../store/store.ts'
import type { TopicTable } from '../definitions/topics.ts'
import type { AppendedToo } from '../publish/publisher.ts'
import type { GroupQueue } from './held/group-queue.ts'
import type { Entry } from './held/unsettled.ts'
import type { ReceivingGroup } from './receiving-group.ts'
import { type Copy, placeFact, type Retries } from './retries.ts'

/** A message that a consumer has. */
export interface Held {
  readonly group: ReceivingGroup
  readonly queue: GroupQueue
  readonly entry: Entry
}

/** What the settlement of one message does. */
export type Step =
  /** It is done here; `copy` goes on elsewhere. */
  | { readonly leaves: true; readonly held: Held; readonly copy: Copy | undefined }
  | {
      readonly leaves: false
      readonly held: Held
      /** Is it a failed attempt? */
      readonly isCounted: boolean
      /** Makes it available again. */
      readonly stay: () => void
    }

export class JointSettlement {
  readonly #steps: readonly Step[]
  readonly #topics: TopicTable
  readonly #retries: Retries
  /** Of each step's delivery. */
  readonly #serials: readonly number[]

  constructor(steps: readonly Step[], topics: TopicTable, retries: Retries) {
    this.#steps = steps
    this.#topics = topics
    this.#retries = retries
    this.#serials = steps.map(({ held }) => held.entry.serial)
  }

  /** Everything is handed to `append` within the call. @throws what `append` throws */
  async run<T>(append: (also: AppendedToo) => Promise<T>): Promise<T> {
    const copies = this.#steps.flatMap((step) => (step.leaves ? (step.copy ?? []) : []))
    const topics = new Set(copies.map(({ topic }) => topic))
    this.#begin()
    try {
      const facts = [...this.#topics.unsaved(topics), ...this.#places()]
      const result = await append({ drafts: copies.map(({ draft }) => draft), facts })
      this.#end(copies)
      return result
    } catch (error) {
      // The log has all of it, the messages too.
      if (isUnconfirmed(BrokerError.from(error))) this.#end(copies)
      else this.#undo()
      throw error
    }
  }

  #begin(): void {
    for (const step of this.#steps) {
      const { queue, entry } = step.held
      if (step.leaves) {
        queue.leave(entry)
        queue.markLeft(entry)
      } else if (step.isCounted) entry.attempts++
    }
  }

  /** As all of it leaves them. */
  #places(): Fact[] {
    const queues = new Set(this.#steps.map(({ held }) => held.queue))
    return [...queues].map(placeFact)
  }

  #end(copies: readonly Copy[]): void {
    this.#retries.written(copies)
    for (const [i, step] of this.#steps.entries()) {
      const { group, queue, entry } = step.held
      if (entry.holder !== undefined) entry.holder.suspect = undefined
      if (step.leaves) queue.forget(entry)
      // Its time may have run out during the append, and another consumer have it now.
      else if (queue.held(entry.offset, this.#serials[i]!) !== undefined) step.stay()
      // Acknowledgements that came in during the append are not in the fact just written.
      group.moved(queue)
    }
    this.#wake()
  }

  #undo(): void {
    for (const [i, step] of this.#steps.entries()) {
      const { group, queue, entry } = step.held
      if (step.leaves) queue.takeBack(entry, this.#serials[i]!)
      else if (step.isCounted) entry.attempts--
      group.expects(queue)
      // Acknowledgements during the append were held back from the log.
      group.moved(queue)
    }
    this.#wake()
  }

  #wake(): void {
    for (const { held } of new Map(this.#steps.map((step) => [step.held.queue, step])).values()) {
      held.group.wakeFor(held.queue.cursor.topic)
    }
  }
}
