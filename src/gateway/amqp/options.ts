// The settings of the AMQP front-end, with their defaults. Limits that no operator needs to move
// are in limits.ts.
import { BODY_BYTES_DEFAULT } from '../../model/limits.ts'

export interface AmqpOptions {
  /** Longest frame we take after `open`; announced. */
  readonly frameBytesMax: number
  /** Longest message we take; announced. */
  readonly messageBytesMax: number
  readonly channelsMax: number
  readonly linksPerSessionMax: number
  /** From the connection to `open`. */
  readonly handshakeMs: number
  /** Without a frame for this long a connection is closed; half of it is announced. */
  readonly idleMs: number
  /** Bytes waiting for one slow reader; beyond, it is sent no more. */
  readonly sendAheadBytesMax: number
  /** Bytes of one connection that came and are not yet durable; beyond, it is not read. */
  readonly unstoredBytesMax: number
  /** The same over all connections; beyond, no credit is granted. */
  readonly unstoredBytesTotalMax: number
  readonly authFailureDelayMs: number
  /** How long a message stays with a link that says nothing of it. */
  readonly lockMs: number
}

const MIB = 1024 * 1024
/** The other sections of a message whose body is as large as bodies get. */
const SECTIONS_BYTES = 128 * 1024

export const AMQP_DEFAULTS: AmqpOptions = {
  frameBytesMax: 64 * 1024,
  messageBytesMax: BODY_BYTES_DEFAULT + SECTIONS_BYTES,
  channelsMax: 64,
  linksPerSessionMax: 256,
  handshakeMs: 10_000,
  idleMs: 60_000,
  sendAheadBytesMax: MIB,
  unstoredBytesMax: 16 * MIB,
  unstoredBytesTotalMax: 64 * MIB,
  authFailureDelayMs: 500,
  lockMs: 15 * 60_000,
}
