// The messages sent to one session at QoS 1 and 2 and not finished yet, in the order they were
// sent, and the packet ids they hold. Columns instead of objects; what finished out of order leaves
// a gap until the oldest is done.
import type { Receipt } from '../../../model/message.ts'
import { type LogPosition, logPosition } from '../../../model/positions.ts'
import type { Qos } from '../packets/protocol.ts'

/** Where a delivery stands. */
export const SENT = 1
/** PUBREC came: only PUBREL and PUBCOMP are left, the message itself is not sent again. */
export const RELEASED = 2
/** Sent as a retained message, and therefore sent again as one. */
export const SENT_RETAINED = 3
const DONE = 0

const CAPACITY_MIN = 16
const PACKET_ID_MAX = 65_535

export interface InFlightEntry {
  readonly packetId: number
  readonly position: LogPosition
  readonly qos: Qos
  readonly state: number
}

export class InFlight {
  #ids = new Uint16Array(CAPACITY_MIN)
  #positions = new Float64Array(CAPACITY_MIN)
  #qos = new Uint8Array(CAPACITY_MIN)
  #states = new Uint8Array(CAPACITY_MIN)
  #receipts: (Receipt | undefined)[] = new Array(CAPACITY_MIN).fill(undefined)
  /** Slots [head, tail) modulo the capacity; `#count` of them are not done. */
  #head = 0
  #used = 0
  #count = 0
  #nextId = 1
  /** Ids given since none was held: below 65,535 none can repeat, so nothing needs looking up. */
  #givenSinceEmpty = 0

  get count(): number {
    return this.#count
  }

  /** The id the next message will get, unless it is still held. */
  get nextId(): number {
    return this.#nextId
  }

  /** Takes a free packet id for a message and notes it as sent. */
  add(position: LogPosition, qos: Qos, receipt: Receipt | undefined, state = SENT): number {
    const id = this.#takeId()
    this.#push(id, position, qos, state, receipt)
    return id
  }

  /** Back from a saved session. */
  restore(entries: readonly InFlightEntry[], nextId: number): void {
    for (const { packetId, position, qos, state } of entries) {
      this.#push(packetId, position, qos, state, undefined)
    }
    this.#nextId = nextId
    this.#givenSinceEmpty = PACKET_ID_MAX
  }

  /** Slot of the id, or -1. The oldest is tried first: peers acknowledge in order. */
  find(id: number): number {
    const mask = this.#ids.length - 1
    for (let i = 0; i < this.#used; i++) {
      const slot = (this.#head + i) & mask
      if (this.#ids[slot] === id && this.#states[slot] !== DONE) return slot
    }
    return -1
  }

  qosAt(slot: number): Qos {
    return this.#qos[slot] as Qos
  }

  stateAt(slot: number): number {
    return this.#states[slot]!
  }

  positionAt(slot: number): LogPosition {
    return logPosition(this.#positions[slot]!)
  }

  receiptAt(slot: number): Receipt | undefined {
    return this.#receipts[slot]
  }

  dropReceipt(slot: number): void {
    this.#receipts[slot] = undefined
  }

  /** PUBREC came for it. */
  release(slot: number): void {
    this.#states[slot] = RELEASED
  }

  /** The delivery is finished, its id is free. */
  remove(slot: number): void {
    this.#states[slot] = DONE
    this.#receipts[slot] = undefined
    this.#count--
    const mask = this.#ids.length - 1
    while (this.#used > 0 && this.#states[this.#head] === DONE) {
      this.#head = (this.#head + 1) & mask
      this.#used--
    }
    if (this.#count === 0) this.#givenSinceEmpty = 0
  }

  /** Unfinished ones in the order they were sent. */
  *slots(): Generator<number> {
    const mask = this.#ids.length - 1
    for (let i = 0; i < this.#used; i++) {
      const slot = (this.#head + i) & mask
      if (this.#states[slot] !== DONE) yield slot
    }
  }

  entryAt(slot: number): InFlightEntry {
    return {
      packetId: this.#ids[slot]!,
      position: this.positionAt(slot),
      qos: this.qosAt(slot),
      state: this.stateAt(slot),
    }
  }

  #takeId(): number {
    if (this.#count === 0) this.#givenSinceEmpty = 0
    let id = this.#nextId
    if (this.#givenSinceEmpty >= PACKET_ID_MAX) while (this.find(id) !== -1) id = following(id)
    this.#givenSinceEmpty++
    this.#nextId = following(id)
    return id
  }

  #push(
    id: number,
    position: LogPosition,
    qos: Qos,
    state: number,
    receipt: Receipt | undefined,
  ): void {
    if (this.#used === this.#ids.length) this.#makeRoom()
    const slot = (this.#head + this.#used) & (this.#ids.length - 1)
    this.#ids[slot] = id
    this.#positions[slot] = position
    this.#qos[slot] = qos
    this.#states[slot] = state
    this.#receipts[slot] = receipt
    this.#used++
    this.#count++
  }

  /** Closes the gaps, into twice the room when there are few. */
  #makeRoom(): void {
    const old = { ids: this.#ids, positions: this.#positions, qos: this.#qos, states: this.#states }
    const receipts = this.#receipts
    const slots = [...this.slots()]
    const capacity = slots.length * 2 > old.ids.length ? old.ids.length * 2 : old.ids.length
    this.#ids = new Uint16Array(capacity)
    this.#positions = new Float64Array(capacity)
    this.#qos = new Uint8Array(capacity)
    this.#states = new Uint8Array(capacity)
    this.#receipts = new Array(capacity).fill(undefined)
    slots.forEach((slot, i) => {
      this.#ids[i] = old.ids[slot]!
      this.#positions[i] = old.positions[slot]!
      this.#qos[i] = old.qos[slot]!
      this.#states[i] = old.states[slot]!
      this.#receipts[i] = receipts[slot]
    })
    this.#head = 0
    this.#used = slots.length
  }
}

const following = (id: number): number => (id === PACKET_ID_MAX ? 1 : id + 1)
