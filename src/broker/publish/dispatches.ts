// The light queues that new messages name in INNER_MULTI_DISPATCH: made where they are missing, and
// no more entries in them on their way into the log than a turn of the event loop takes.
import { BrokerError } from '../../errors.ts'
import { checkDispatch, dispatchedTo, isDeadLetterTopic, isRetryTopic } from '../../model/names.ts'
import { findProperty, PROPERTY } from '../../model/properties.ts'
import type { StoreDraft } from '../../store/store.ts'
import type { LightQueueTable } from '../definitions/light-queues.ts'
import { DISPATCHES_AT_ONCE_MAX } from '../options.ts'
import type { DispatchBudget } from './dispatch-budget.ts'

/** The part of one append that is noted here. */
export interface Dispatching {
  /** Entries of its messages in light queues that they name. */
  dispatches: number
  /** Those that its messages make. */
  queues: Promise<void>[] | undefined
}

export class Dispatches {
  readonly #lightQueues: LightQueueTable
  readonly #budget: DispatchBudget

  constructor(lightQueues: LightQueueTable, budget: DispatchBudget) {
    this.#lightQueues = lightQueues
    this.#budget = budget
  }

  /**
   * Before the message is appended, so that its entry comes behind the making of its queue. A copy
   * for a retry topic names them again and goes to none.
   * @throws MESSAGE_INVALID, QUOTA_EXCEEDED, BUSY
   */
  note({ topic, properties }: StoreDraft, batch: Dispatching): void {
    if (isRetryTopic(topic) || isDeadLetterTopic(topic)) return
    const text = findProperty(properties, PROPERTY.multiDispatch) ?? ''
    checkDispatch(text)
    const names = dispatchedTo(text)
    const count = batch.dispatches + names.length
    if (count > DISPATCHES_AT_ONCE_MAX) throw tooMany(count)
    if (!this.#budget.hasRoom(count)) throw busy()
    batch.dispatches = count
    for (const name of names) {
      const made = this.#lightQueues.ensureNamed(name)
      if (made === undefined) continue
      // The message may be refused for another reason, and its append has no use for this then.
      made.catch(() => {})
      batch.queues ??= []
      batch.queues.push(made)
    }
  }

  /** The append of the batch, done when the queues that it makes are durable too. */
  done<T>({ dispatches, queues = [] }: Dispatching, append: Promise<T>): Promise<T> {
    const done = Promise.all([append, ...queues]).then(([appended]) => appended)
    return this.#budget.take(dispatches, done)
  }
}

const tooMany = (count: number): BrokerError =>
  new BrokerError(
    'MESSAGE_INVALID',
    `messages that are stored together name ${count} light queues; ${DISPATCHES_AT_ONCE_MAX} is the most`,
  )

const busy = (): BrokerError =>
  new BrokerError(
    'BUSY',
    `${DISPATCHES_AT_ONCE_MAX} entries in light queues are on their way into the log: try again soon`,
  )
