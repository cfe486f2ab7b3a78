// The packet ids of QoS 2 messages a session has taken and not been released from: what makes a
// repeated PUBLISH the same message. Kept with the session, so that it holds across reconnects and
// restarts.

export type InboundState =
  /** On its way into the log. */
  | 'storing'
  /** Durable: PUBREC may be (and was) sent. */
  | 'stored'
  /** Noted before a restart: the log knows whether it got there. */
  | 'unknown'

export interface InboundId {
  readonly packetId: number
  /** Part of the message's unique key. */
  readonly serial: number
  state: InboundState
  /** How often the peer sent it again while it was on its way: as many more answers are owed. */
  awaited: number
}

export class InboundIds {
  /** Once there was one: most sessions publish nothing of QoS 2. */
  #ids: Map<number, InboundId> | undefined
  #nextSerial = 1

  get count(): number {
    return this.#ids?.size ?? 0
  }

  get nextSerial(): number {
    return this.#nextSerial
  }

  find(packetId: number): InboundId | undefined {
    return this.#ids?.get(packetId)
  }

  add(packetId: number): InboundId {
    const serial = this.#nextSerial++
    const id: InboundId = { packetId, serial, state: 'storing', awaited: 0 }
    this.#ids ??= new Map()
    this.#ids.set(packetId, id)
    return id
  }

  remove(packetId: number): boolean {
    return this.#ids?.delete(packetId) ?? false
  }

  /** A new connection: it is owed answers to its own packets, no others. */
  owesNothing(): void {
    for (const id of this.#ids?.values() ?? []) id.awaited = 0
  }

  saved(): [packetId: number, serial: number][] {
    return [...(this.#ids?.values() ?? [])].map(({ packetId, serial }) => [packetId, serial])
  }

  restore(saved: readonly (readonly [number, number])[], nextSerial: number): void {
    if (saved.length > 0) this.#ids ??= new Map()
    for (const [packetId, serial] of saved) {
      const id = { packetId, serial, state: 'unknown' as const, awaited: 0 }
      this.#ids?.set(packetId, id)
    }
    this.#nextSerial = nextSerial
  }
}
