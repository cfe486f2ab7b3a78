// The subscriptions of a session.
import type { QueueName } from '../../../model/message.ts'
import type { LogPosition, QueueOffset } from '../../../model/positions.ts'
import type { TagFilter } from '../../../model/tag-filter.ts'
import { NO_IDS } from '../outgoing/publish-output.ts'
import type { SubscribeOptions } from '../packets/subscribe-packet.ts'
import type { QueuePlaces } from './queue-places.ts'

/**
 * Where a shared subscription takes its messages from: a consumer group on a topic or light queue.
 */
export interface ShareSource {
  readonly group: string
  readonly topic: string
  readonly filter: TagFilter
}

/**
 * How a subscription's light queue is bound: a durable one by the session itself, or held for as
 * long as the session lives in this process, as a share's queue is; or one in memory.
 */
export type Bound = 'owned' | 'held' | 'live'

/** How far a subscription got on a queue that it reads. */
export interface Place extends QueueName {
  /** Nothing before this entry belongs to the subscription. */
  from: QueueOffset
  /** The first entry that is not dealt with. */
  next: QueueOffset
  /**
   * Entries before this position of the broker's log are passed over: the session had them by
   * other filters before it had this one. 0: none.
   */
  floor: LogPosition
}

export interface Subscription extends SubscribeOptions {
  /** The filter as sent, share included; the subscription's identity. */
  readonly text: string
  /** The filter without the share. */
  readonly filter: string
  /** Present for a shared subscription. */
  readonly share: ShareSource | undefined
  /** MQTT 5's subscription identifier. */
  readonly id: number | undefined
  /** Its light queue, on each broker; none for a share of a native group. */
  readonly places: readonly Place[]
  /** Kept for the unbind. */
  readonly bound: Bound
  /**
   * Without light queues: where it begins, on queues on which the session is further behind.
   */
  readonly starts: QueuePlaces | undefined
}

/** Is there nothing in the one that the saved other does not have? */
export const isSame = (now: Subscription, old: Subscription | undefined): boolean =>
  old !== undefined &&
  now.places === old.places &&
  now.id === old.id &&
  now.qos === old.qos &&
  now.noLocal === old.noLocal &&
  now.retainAsPublished === old.retainAsPublished

/** Several overlapping subscriptions combined for one message (MQTT-3.3.4-2 and 3.3.4-3). */
export interface Combined {
  qos: number
  retainAsPublished: boolean
  subscriptionIds: readonly number[]
  /** Does at least one of them want a message of this publisher? */
  isWanted: boolean
}

/** The result is reused by the next call. */
export class Combiner {
  #ids: number[] | undefined
  readonly #combined: Combined = {
    qos: 0,
    retainAsPublished: false,
    subscriptionIds: NO_IDS,
    isWanted: false,
  }

  combine(matching: readonly Subscription[], isOwn: boolean): Combined {
    const out = this.#combined
    out.qos = 0
    out.retainAsPublished = false
    out.subscriptionIds = NO_IDS
    out.isWanted = false
    this.#ids = undefined
    for (const subscription of matching) {
      if (isOwn && subscription.noLocal) continue
      out.isWanted = true
      if (subscription.qos > out.qos) out.qos = subscription.qos
      if (subscription.retainAsPublished) out.retainAsPublished = true
      if (subscription.id !== undefined) {
        this.#ids ??= []
        this.#ids.push(subscription.id)
        out.subscriptionIds = this.#ids
      }
    }
    return out
  }
}
