// The memory of all connections without an answered CONNECT: bounded as a whole, so that
// unauthenticated peers, however many, cost no more.

/** A connection whose CONNECT is not answered. */
export interface Connecting {
  /**
   * Refuses the connection, as too much waits right now; it lets go of its part within the call.
   */
  crowdedOut(): void
}

export class ConnectBudget {
  readonly #bytesMax: number
  readonly #held = new Map<Connecting, number>()
  #bytes = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  get bytes(): number {
    return this.#bytes
  }

  /**
   * The connection keeps so many bytes now. May crowd out the one with the most, itself among them.
   */
  hold(connection: Connecting, bytes: number): void {
    const before = this.#held.get(connection) ?? 0
    if (bytes === before) return
    this.#bytes += bytes - before
    if (bytes === 0) this.#held.delete(connection)
    else this.#held.set(connection, bytes)
    while (this.#bytes > this.#bytesMax) this.#crowdOut()
  }

  leave(connection: Connecting): void {
    this.hold(connection, 0)
  }

  #crowdOut(): void {
    let most: Connecting | undefined
    let mostBytes = 0
    for (const [connection, bytes] of this.#held) {
      if (bytes <= mostBytes) continue
      most = connection
      mostBytes = bytes
    }
    if (most === undefined) return
    this.leave(most)
    most.crowdedOut()
  }
}
