// What a session's ordinary subscriptions bring, one message after the other: read from the light
// queues of the broker (streams.ts), or where it has none from the topics themselves (follow/).
import type { SharedSlice } from '../../../clock.ts'
import type { QueueOffset } from '../../../model/positions.ts'
import type { OutgoingMessage } from '../outgoing/outgoing-message.ts'
import type { Session } from '../session/session.ts'
import type { Subscription } from '../session/subscriptions.ts'

export type StreamState =
  /** `delivery` and `matching` hold the next message. */
  | 'ready'
  /** Reads are under way; the reader is told. */
  | 'reading'
  /** Nothing there. */
  | 'idle'

/** Told what happens to a stream. Must not throw. */
export interface StreamReader {
  /** There may be a message, or the end of one more read. */
  streamMoved(): void
  /** A read failed; it is tried again a little later. */
  streamFailed(): void
}

/** How far a stream is on one queue. */
export interface Progress {
  /** The first entry that is not dealt with. */
  readonly next: QueueOffset
}

export interface Stream {
  /** The next message after `next()` answered 'ready'; valid until `advance`. */
  readonly delivery: OutgoingMessage | undefined
  readonly matching: readonly Subscription[]
  /** Entries that retention took before they were read. */
  readonly missed: number
  /** Entries compared so far: what the choice of messages costs. */
  readonly compared: number
  /**
   * Subscriptions of a session that was away go on where it was. Nothing of the stream is sent
   * until it has settled.
   */
  resume(subscriptions: readonly Subscription[], slice: SharedSlice): Promise<void>
  add(subscription: Subscription): void
  /** Other options for a filter that goes on where it is. */
  replace(subscription: Subscription): void
  remove(subscription: Subscription): void
  /**
   * The ends of the queues that these subscriptions read, as they are now; a queue that cannot be
   * read is left out. The reader is told when one is passed.
   */
  ends(
    subscriptions: readonly Subscription[],
    slice: SharedSlice,
  ): Promise<Map<Progress, QueueOffset>>
  /** Finds the next message. Stays 'ready' with the same one until `advance`. */
  next(): StreamState
  /** The message is dealt with. */
  advance(): void
  /** While nothing can be sent no message is held. */
  dropBatches(): void
  close(): void
}

/** What a subscription reads. */
export type Binding = Pick<Subscription, 'places' | 'bound' | 'starts'>

/** The way in which a gateway reads for all of its sessions. */
export interface StreamSource {
  /**
   * Messages that are sent once it has settled belong to the subscription. `isShared`: a group
   * reads it, which takes one queue.
   */
  bind(session: Session, filter: string, isShared: boolean): Promise<Binding>
  /** Undoes one `bind`. */
  unbind(session: Session, filter: string, binding: Binding): Promise<void>
  /**
   * A subscription of a session that was away can be read again. Rejects with READ_ONLY when it
   * cannot be now.
   */
  rebind(session: Session, subscription: Subscription): Promise<void>
  /** Goes over what the session had before by other filters, however much that is. */
  pass(session: Session, subscription: Subscription): Promise<void>
  /** The stream of a session whose client is connected. */
  open(session: Session, reader: StreamReader): Stream
  /** Called a few times a second: what failed is tried again. */
  sweep(nowMs: number): void
  close(): void
}
