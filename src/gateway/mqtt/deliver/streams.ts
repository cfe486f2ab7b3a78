// All that a session's ordinary subscriptions read: one merge for each broker, as positions of one
// log say nothing of another's. Messages of different brokers go out in turn, in no order.
import type { SharedSlice } from '../../../clock.ts'
import type { QueueOffset } from '../../../model/positions.ts'
import type { OutgoingMessage } from '../outgoing/outgoing-message.ts'
import type { SessionSubscriptions } from '../session/session-subscriptions.ts'
import type { Place, Subscription } from '../session/subscriptions.ts'
import type { LightFeed, LightFeedReader, LightFeeds } from './light-feed.ts'
import { Merge, NO_SUBSCRIPTIONS } from './merge.ts'
import type { Progress, Stream, StreamReader, StreamState } from './stream.ts'

export class Streams implements Stream, LightFeedReader {
  readonly #feeds: LightFeeds
  readonly #reader: StreamReader
  readonly #subscriptions: SessionSubscriptions
  readonly #merges: { readonly brokerName: string; readonly merge: Merge }[] = []
  /** Index of the merge with the next message, or of the one to be asked first. */
  #turn = 0
  #isClosed = false

  constructor(feeds: LightFeeds, subscriptions: SessionSubscriptions, reader: StreamReader) {
    this.#feeds = feeds
    this.#subscriptions = subscriptions
    this.#reader = reader
  }

  /** The next message after `next()` answered 'ready'; valid until `advance`. */
  get delivery(): OutgoingMessage | undefined {
    return this.#merges[this.#turn]?.merge.delivery
  }

  get matching(): readonly Subscription[] {
    return this.#merges[this.#turn]?.merge.matching ?? NO_SUBSCRIPTIONS
  }

  /** Entries that retention took before they were read. */
  get missed(): number {
    return this.#merges.reduce((sum, { merge }) => sum + merge.missed, 0)
  }

  /** Entries compared so far: what the choice of messages costs. */
  get compared(): number {
    let sum = 0
    for (const { merge } of this.#merges) sum += merge.compared
    return sum
  }

  async resume(subscriptions: readonly Subscription[], slice: SharedSlice): Promise<void> {
    for (const subscription of subscriptions) {
      if (slice.isOver) await slice.rest()
      if (this.#isClosed) return
      this.add(subscription)
    }
  }

  /** Every queue of the subscription goes on where its place is. */
  add(subscription: Subscription): void {
    for (const place of subscription.places) this.#of(place).add(subscription, place)
  }

  /** Other options for a filter that goes on where it is. */
  replace(subscription: Subscription): void {
    for (const place of subscription.places) this.#of(place).replace(subscription, place)
  }

  remove({ places }: Subscription): void {
    for (const place of places) this.#of(place).remove(place)
  }

  async ends(
    subscriptions: readonly Subscription[],
    slice: SharedSlice,
  ): Promise<Map<Progress, QueueOffset>> {
    const ends = new Map<Progress, QueueOffset>()
    for (const place of subscriptions.flatMap(({ places }) => places)) {
      if (slice.isOver) await slice.rest()
      if (!this.#merges.some(({ merge }) => merge.has(place))) continue
      const range = await this.#feeds.broker.cursors.range(place).catch(() => undefined)
      // Without one the queue is gone, so nothing of it can be sent.
      if (range !== undefined) ends.set(place, range.maxOffset)
    }
    return ends
  }

  close(): void {
    this.#isClosed = true
    for (const { merge } of this.#merges) merge.close()
  }

  feedMoved(feed: LightFeed): void {
    for (const { brokerName, merge } of this.#merges) {
      if (brokerName === feed.queue.brokerName) merge.lookAt(feed)
    }
    this.#reader.streamMoved()
  }

  feedFailed(): void {
    this.#reader.streamFailed()
  }

  /** Finds the next message. Stays 'ready' with the same one until `advance`. */
  next(): StreamState {
    let state: StreamState = 'idle'
    for (let i = 0; i < this.#merges.length; i++) {
      const turn = (this.#turn + i) % this.#merges.length
      const found = this.#merges[turn]!.merge.next()
      if (found === 'ready') {
        this.#turn = turn
        return found
      }
      if (found === 'reading') state = found
    }
    return state
  }

  /** The message is dealt with. */
  advance(): void {
    this.#merges[this.#turn]?.merge.advance()
    this.#turn = (this.#turn + 1) % this.#merges.length
  }

  /** While nothing can be sent no batch is held. */
  dropBatches(): void {
    for (const { merge } of this.#merges) merge.dropBatches()
  }

  #of({ brokerName }: Place): Merge {
    const known = this.#merges.find((one) => one.brokerName === brokerName)
    if (known !== undefined) return known.merge
    const merge = new Merge(this.#feeds, this, (subscription) =>
      this.#subscriptions.moved(subscription),
    )
    this.#merges.push({ brokerName, merge })
    return merge
  }
}
