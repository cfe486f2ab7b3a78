// The messages sent to one session at QoS 1 and 2 and not finished yet, in the order they were
// sent, and the packet ids they hold. Columns instead of objects; what finished out of order leaves
// a gap until the oldest is done.
import type { Receipt } from '../../../model/message.ts'
import { queueOffset } from '../../../model/positions.ts'
import type { Home } from '../outgoing/home.ts'
import type { Qos } from '../packets/protocol.ts'
import { HomeNames } from './home-names.ts'

/** Where a delivery stands. */
export const SENT = 1
/** PUBREC came: only PUBREL and PUBCOMP are left, the message itself is not sent again. */
export const RELEASED = 2
/** Sent as a retained message, and therefore sent again as one. */
export const SENT_RETAINED = 3
const DONE = 0

const CAPACITY_MIN = 16
const PACKET_ID_MAX = 65_535
/** The index of a name has 16 bits. */
const NAMES_MAX = 65_536

/**
 * Words of a slot: packet id 16 bits, QoS 8, state 8 · index of the home's name 16, queue id 16 ·
 * stamp of the home.
 */
const WORDS = 3
const STATE_MASK = 0xff
const QOS_SHIFT = 8
const ID_SHIFT = 16

/** Of all that have nothing in flight. */
const NO_WORDS = new Uint32Array(0)
const NO_OFFSETS = new Float64Array(0)

export interface InFlightEntry {
  readonly packetId: number
  readonly home: Home
  readonly qos: Qos
  readonly state: number
}

export class InFlight {
  #capacity = 0
  #words = NO_WORDS
  /** Of the homes. */
  #offsets = NO_OFFSETS
  #names = new HomeNames()
  /** By slot; undefined until a shared subscription brings one. */
  #receipts: (Receipt | undefined)[] | undefined
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
  add(home: Home, qos: Qos, receipt: Receipt | undefined, state = SENT): number {
    const id = this.#takeId()
    this.#push(id, home, qos, state, receipt)
    return id
  }

  /** Back from a saved session. */
  restore(entries: readonly InFlightEntry[], nextId: number): void {
    for (const { packetId, home, qos, state } of entries) {
      this.#push(packetId, home, qos, state, undefined)
    }
    this.#nextId = nextId
    this.#givenSinceEmpty = PACKET_ID_MAX
  }

  /** Slot of the id, or -1. The oldest is tried first: peers acknowledge in order. */
  find(id: number): number {
    const mask = this.#capacity - 1
    for (let i = 0; i < this.#used; i++) {
      const slot = (this.#head + i) & mask
      const word = this.#words[slot * WORDS]!
      if (word >>> ID_SHIFT === id && (word & STATE_MASK) !== DONE) return slot
    }
    return -1
  }

  qosAt(slot: number): Qos {
    return ((this.#words[slot * WORDS]! >>> QOS_SHIFT) & 0xff) as Qos
  }

  stateAt(slot: number): number {
    return this.#words[slot * WORDS]! & STATE_MASK
  }

  homeAt(slot: number): Home {
    const at = slot * WORDS
    const { brokerName, topic } = this.#names.at(this.#words[at + 1]! >>> 16)
    const queueId = this.#words[at + 1]! & 0xffff
    const offset = queueOffset(this.#offsets[slot]!)
    return { brokerName, topic, queueId, offset, stamp: this.#words[at + 2]! }
  }

  receiptAt(slot: number): Receipt | undefined {
    return this.#receipts?.[slot]
  }

  dropReceipt(slot: number): void {
    if (this.#receipts !== undefined) this.#receipts[slot] = undefined
  }

  /** PUBREC came for it. */
  markReceived(slot: number): void {
    this.#setState(slot, RELEASED)
  }

  /** The delivery is finished, its id is free. */
  remove(slot: number): void {
    this.#setState(slot, DONE)
    this.dropReceipt(slot)
    this.#count--
    const mask = this.#capacity - 1
    while (this.#used > 0 && this.stateAt(this.#head) === DONE) {
      this.#head = (this.#head + 1) & mask
      this.#used--
    }
    if (this.#count === 0) this.#givenSinceEmpty = 0
  }

  /** Unfinished ones in the order they were sent. */
  *slots(): Generator<number> {
    const mask = this.#capacity - 1
    for (let i = 0; i < this.#used; i++) {
      const slot = (this.#head + i) & mask
      if (this.stateAt(slot) !== DONE) yield slot
    }
  }

  entryAt(slot: number): InFlightEntry {
    return {
      packetId: this.#words[slot * WORDS]! >>> ID_SHIFT,
      home: this.homeAt(slot),
      qos: this.qosAt(slot),
      state: this.stateAt(slot),
    }
  }

  #setState(slot: number, state: number): void {
    const at = slot * WORDS
    this.#words[at] = (this.#words[at]! & ~STATE_MASK) | state
  }

  #takeId(): number {
    if (this.#count === 0) this.#givenSinceEmpty = 0
    let id = this.#nextId
    if (this.#givenSinceEmpty >= PACKET_ID_MAX) while (this.find(id) !== -1) id = following(id)
    this.#givenSinceEmpty++
    this.#nextId = following(id)
    return id
  }

  #push(id: number, home: Home, qos: Qos, state: number, receipt: Receipt | undefined): void {
    const namesMax = Math.min(this.#capacity, NAMES_MAX)
    if (this.#used === this.#capacity || this.#names.count >= namesMax) this.#makeRoom()
    const slot = (this.#head + this.#used) & (this.#capacity - 1)
    const at = slot * WORDS
    this.#words[at] = (id << ID_SHIFT) | (qos << QOS_SHIFT) | state
    this.#words[at + 1] = (this.#names.indexOf(home) << 16) | home.queueId
    this.#words[at + 2] = home.stamp
    this.#offsets[slot] = home.offset
    if (receipt !== undefined) {
      this.#receipts ??= new Array(this.#capacity).fill(undefined)
      this.#receipts[slot] = receipt
    }
    this.#used++
    this.#count++
  }

  /** Closes the gaps, into twice the room when there are few; names of no message are forgotten. */
  #makeRoom(): void {
    const slots = [...this.slots()]
    const entries = slots.map((slot) => this.entryAt(slot))
    const receipts = this.#receipts && slots.map((slot) => this.receiptAt(slot))
    if (slots.length * 2 > this.#capacity) this.#capacity *= 2
    else this.#capacity ||= CAPACITY_MIN
    this.#words = new Uint32Array(this.#capacity * WORDS)
    this.#offsets = new Float64Array(this.#capacity)
    this.#names = new HomeNames()
    this.#receipts = undefined
    this.#head = 0
    this.#used = 0
    this.#count = 0
    entries.forEach(({ packetId, home, qos, state }, i) => {
      this.#push(packetId, home, qos, state, receipts?.[i])
    })
  }
}

const following = (id: number): number => (id === PACKET_ID_MAX ? 1 : id + 1)
