// Frames on their way to one peer, gathered in a slab and written once per turn of the event loop.
// Slabs are lent by the gateway, so an idle connection holds none.
import type { GatewaySocket } from '../../../port/gateway.ts'
import { SLAB_BYTES } from '../limits.ts'

const NOTHING = Buffer.alloc(0)
/** Slabs kept for reuse. */
const SPARE_SLABS_MAX = 16

/** Writes every outbox with something in it at the end of the turn. */
export class OutboxTurn {
  readonly #waiting: Outbox[] = []
  readonly #spare: Buffer[] = []
  #isDue = false

  add(outbox: Outbox): void {
    this.#waiting.push(outbox)
    if (this.#isDue) return
    this.#isDue = true
    setImmediate(() => this.#flush())
  }

  borrow(): Buffer {
    return this.#spare.pop() ?? Buffer.allocUnsafeSlow(SLAB_BYTES)
  }

  giveBack(slab: Buffer): void {
    if (this.#spare.length < SPARE_SLABS_MAX) this.#spare.push(slab)
  }

  #flush(): void {
    this.#isDue = false
    for (const outbox of this.#waiting.splice(0)) outbox.flush()
  }
}

export class Outbox {
  readonly #socket: GatewaySocket
  readonly #turn: OutboxTurn
  #slab: Buffer = NOTHING
  #at = 0
  #isWaiting = false
  #isClosed = false

  constructor(socket: GatewaySocket, turn: OutboxTurn) {
    this.#socket = socket
    this.#turn = turn
  }

  /** Bytes that the peer has not taken: here and in the socket. */
  get pendingBytes(): number {
    return this.#at + this.#socket.unsentBytes
  }

  /** The buffer to write into after `reserve`. */
  get bytes(): Buffer {
    return this.#slab
  }

  /** Makes room for `count` bytes (a slab at most) and answers where they begin in `bytes`. */
  reserve(count: number): number {
    if (this.#at + count > this.#slab.length) {
      this.flush()
      if (this.#slab.length === 0) this.#slab = this.#turn.borrow()
    }
    return this.#at
  }

  /** The reserved bytes have been written up to `at`. */
  commit(at: number): void {
    this.#at = at
    if (this.#isWaiting) return
    this.#isWaiting = true
    this.#turn.add(this)
  }

  /** A whole frame from elsewhere, after everything committed before. */
  append(frame: Uint8Array): void {
    const at = this.reserve(frame.length)
    this.#slab.set(frame, at)
    this.commit(at + frame.length)
  }

  flush(): void {
    this.#isWaiting = false
    if (this.#at === 0) return
    const slab = this.#slab
    const length = this.#at
    this.#slab = NOTHING
    this.#at = 0
    if (this.#isClosed) return
    const isSent = this.#socket.write(slab.subarray(0, length)) && this.#socket.unsentBytes === 0
    if (isSent) this.#turn.giveBack(slab)
  }

  /** Nothing more reaches the socket. */
  close(): void {
    this.#isClosed = true
    this.#at = 0
  }
}
