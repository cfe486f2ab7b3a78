// The state that outlives a connection: subscriptions with how far each got, the messages in flight
// both ways, and the will. Knows nothing of sockets; the session table decides when it lives.
import { randomBytes } from 'node:crypto'
import type { Claim } from '../../../model/state.ts'
import type { WillMessage } from '../packets/connect-packet.ts'
import { InFlight } from './in-flight.ts'
import { InboundIds } from './inbound-ids.ts'
import type { QueuePlaces } from './queue-places.ts'
import { SessionSubscriptions } from './session-subscriptions.ts'

/** Session expiry that never comes (MQTT 5's 0xFFFFFFFF). */
export const NEVER = Number.POSITIVE_INFINITY

const EPOCH_BYTES = 9

export interface Will extends WillMessage {
  readonly delayMs: number
}

/** The connection that holds the session, as the session needs it. */
export interface SessionHolder {
  /** Another connection takes the session over. */
  takenOver(): void
  /** A QoS 2 message the peer sent again is durable now. */
  stored(packetId: number): void
  /** One that it sent again could not be stored; the connection ends, so that it is sent anew. */
  broken(error: unknown): void
}

export class Session {
  readonly clientId: string
  /** Differs from every other session, also of the same client; part of unique keys. */
  readonly epoch: string
  /** How long it lives without a connection; 0 = ends with it. */
  expiryMs: number
  /**
   * Name of the user it belongs to. Without one it is of the time before sessions had owners, or of
   * a broker without users: the next client with its id has it.
   */
  user: string | undefined = undefined
  readonly subscriptions = new SessionSubscriptions()
  readonly inFlight = new InFlight()
  readonly inbound = new InboundIds()
  /**
   * Subscriptions that are still owed retained messages, by text: the name up to which they were
   * sent.
   */
  readonly retainedDue = new Map<string, string>()
  /**
   * Where the broker has no light queues: how far it got on the queues of its topics, as of when
   * its stream last said so.
   */
  places: QueuePlaces | undefined = undefined
  /** Its stream, while a client is connected. */
  reading:
    | {
        readonly places: QueuePlaces
        /** Messages that it has not looked through. */
        readonly behind: number
      }
    | undefined = undefined
  will: Will | undefined = undefined
  /** The ownership of its client id, without which it cannot be saved. */
  claim: Claim | undefined = undefined
  /** When the last connection was lost, epoch ms; undefined while connected. */
  disconnectedMs: number | undefined = undefined
  holder: SessionHolder | undefined = undefined
  /** Work across turns of its connection, or of one that is gone; settles when that is done. */
  work: Promise<void> = Promise.resolve()
  /** Settles when the log has answered for all messages of QoS 2 that are on their way into it. */
  storing: Promise<void> = Promise.resolve()
  /** When it was last logged that another user asked for it, monotonic ms. */
  refusedMs = Number.NEGATIVE_INFINITY
  /** Changed since it was last saved. */
  isDirty = false

  constructor(clientId: string, epoch = randomBytes(EPOCH_BYTES).toString('base64url')) {
    this.clientId = clientId
    this.epoch = epoch
    this.expiryMs = 0
  }

  /** Must it survive its connection, and therefore the process? */
  get isPersistent(): boolean {
    return this.expiryMs > 0
  }

  /**
   * Has its saved copy, for a connection with these terms, all but that there is one? Then that is
   * saved soon: ten thousand clients that come back together are not to wait for it one by one. A
   * crash before that has the session's time run on from its last connection; half of it is left.
   */
  isSavedAs({ user, expiryMs, will }: Pick<Session, 'user' | 'expiryMs' | 'will'>, nowMs: number) {
    if (this.will !== undefined || will !== undefined) return false
    const goneMs = nowMs - (this.disconnectedMs ?? nowMs)
    const isTimely = goneMs >= 0 && goneMs < expiryMs / 2
    return isTimely && this.user === user && this.expiryMs === expiryMs
  }

  /** The owner of its durable filters at the broker. */
  get owner(): string {
    return `mqtt/${this.clientId}`
  }
}
