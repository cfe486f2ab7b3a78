// Reading by light queues of the broker, one for each filter: durable ones are the session's, live
// ones end with the connection. The members of a share read one durable queue, whatever their
// sessions are: those of sessions that end with their connections hold it as long as they live.
import { logPosition, queueOffset } from '../../../model/positions.ts'
import { RecordView } from '../../../model/record.ts'
import { EVERY_TAG } from '../../../model/tag-filter.ts'
import type { Broker, LightQueues } from '../../../port/broker.ts'
import type { Session } from '../session/session.ts'
import type { SessionCopies } from '../session/session-copies.ts'
import type { Bound, Place, Subscription } from '../session/subscriptions.ts'
import { LightFeeds } from './light-feed.ts'
import type { Binding, Stream, StreamReader, StreamSource } from './stream.ts'
import { Streams } from './streams.ts'

export class LightReading implements StreamSource {
  readonly #queues: LightQueues
  readonly #broker: Broker
  readonly #copies: SessionCopies
  readonly #feeds: LightFeeds

  constructor(
    queues: LightQueues,
    broker: Broker,
    copies: SessionCopies,
    failed: (error: unknown, topic: string) => void,
  ) {
    this.#queues = queues
    this.#broker = broker
    this.#copies = copies
    this.#feeds = new LightFeeds(broker, failed)
  }

  open({ subscriptions }: Session, reader: StreamReader): Stream {
    return new Streams(this.#feeds, subscriptions, reader)
  }

  sweep(): void {
    this.#feeds.retry()
  }

  close(): void {
    // Each stream lets go of its feeds.
  }

  async bind(session: Session, filter: string, isShared: boolean): Promise<Binding> {
    const bound = session.isPersistent ? 'owned' : isShared ? 'held' : 'live'
    const { offset, ...queue } =
      bound === 'held'
        ? await this.#queues.hold(filter)
        : await this.#queues.bind(filter, ownerOf(session, bound))
    const place = { ...queue, from: offset, next: offset, floor: logPosition(0) }
    return { places: [place], bound, starts: undefined }
  }

  unbind(session: Session, filter: string, { bound }: Binding): Promise<void> {
    if (bound === 'held') return this.#queues.letGo(filter)
    return this.#queues.unbind(filter, ownerOf(session, bound))
  }

  /**
   * A crash in an UNSUBSCRIBE, or while the session ended, may have left a subscription without its
   * queue. Bound anew that begins at 0, where the subscription begins then: what is sent while it
   * is being bound belongs to it.
   */
  async rebind(session: Session, subscription: Subscription): Promise<void> {
    const { filter, places, bound } = subscription
    const [place] = places
    if (place === undefined || bound !== 'owned') return
    const { offset } = await this.#queues.bind(filter, session.owner)
    if (offset >= place.next) return
    // Behind the subscription's beginning: the queue is another one. Otherwise the log lost its
    // end in a crash of the machine.
    place.next = offset >= place.from ? offset : queueOffset(0)
    place.from = queueOffset(Math.min(place.from, place.next))
    session.subscriptions.moved(subscription)
    await this.#copies.save(session)
  }

  async pass(session: Session, subscription: Subscription): Promise<void> {
    for (const place of subscription.places) {
      if (place.floor === 0) continue
      await this.#pass(place)
      session.subscriptions.moved(subscription)
    }
  }

  async #pass(place: Place): Promise<void> {
    const { topic, brokerName, queueId, floor } = place
    const { minOffset, maxOffset } = await this.#broker.cursors.range(place)
    let low: number = Math.max(place.next, minOffset)
    let high: number = maxOffset
    while (low < high) {
      const offset = queueOffset(Math.floor((low + high) / 2))
      const { records, count, nextOffset } = await this.#broker.pull({
        ...{ topic, brokerName, queueId, offset, filter: EVERY_TAG },
        ...{ maxMessages: 1, maxBytes: 1, waitMs: 0 },
      })
      if (count > 0 && new RecordView(records).position >= floor) high = offset
      else low = Math.max(offset + 1, nextOffset)
    }
    if (low > place.next) place.next = queueOffset(low)
    place.floor = logPosition(0)
  }
}

const ownerOf = (session: Session, bound: Bound): string | undefined =>
  bound === 'owned' ? session.owner : undefined
