// What bounds the connections of one listener.

export interface ListenerLimits {
  readonly connectionsMax: number
  readonly connectionsPerAddressMax: number
  /** Bytes waiting in one connection for a slow reader; beyond, it is closed. */
  readonly unsentBytesMax: number
  /** A connection that takes none of its waiting bytes for this long is closed. */
  readonly writeStallMs: number
  /** A new connection that sends nothing for this long is closed. */
  readonly silentMs: number
}
