// The output of one connection: packets are written back to back into a block and leave in one
// socket write per event-loop turn. Blocks are shared among connections and reused once the kernel
// took their bytes.
import type { GatewaySocket } from '../../../port/gateway.ts'
import { COPY_BYTES_MAX } from '../limits.ts'

const BLOCK_BYTES = 64 * 1024
const SPARE_BLOCKS_MAX = 64

/** Blocks between two uses. */
export class BlockPool {
  readonly #spare: Buffer[] = []

  take(): Buffer {
    return this.#spare.pop() ?? Buffer.allocUnsafeSlow(BLOCK_BYTES)
  }

  give(block: Buffer): void {
    if (this.#spare.length < SPARE_BLOCKS_MAX) this.#spare.push(block)
  }
}

export class Output {
  readonly #socket: GatewaySocket
  readonly #pool: BlockPool
  /** Where `reserve` said to write. Only valid until the next call. */
  block: Buffer | undefined
  at = 0
  /** Full pieces that wait for the turn's end. */
  #pieces: Buffer[] = []
  /** Packets that wait for a session or message to become durable first. */
  #sealed: Buffer[] = []
  #pieceBytes = 0
  #sealedBytes = 0

  constructor(socket: GatewaySocket, pool: BlockPool) {
    this.#socket = socket
    this.#pool = pool
  }

  /** Written here and not flushed yet. */
  get pendingBytes(): number {
    return this.#pieceBytes + this.#sealedBytes + this.at
  }

  /** Bytes on their way to the peer, here and in the socket. */
  get unsentBytes(): number {
    return this.pendingBytes + this.#socket.unsentBytes
  }

  /**
   * A block with room for `count` bytes (at most BLOCK_BYTES) at `this.at`; advance `at` after
   * writing.
   */
  reserve(count: number): Buffer {
    if (this.block !== undefined && this.block.length - this.at < count) this.#closeBlock()
    this.block ??= this.#pool.take()
    return this.block
  }

  /** Copies small bytes; large ones are kept as they are and belong to the socket from now on. */
  append(bytes: Buffer): void {
    if (bytes.length > COPY_BYTES_MAX) {
      this.#closeBlock()
      this.#pieces.push(bytes)
      this.#pieceBytes += bytes.length
      return
    }
    this.reserve(bytes.length).set(bytes, this.at)
    this.at += bytes.length
  }

  /** PUBACK, PUBREC, PUBREL or PUBCOMP with success. */
  appendAck(first: number, packetId: number): void {
    const block = this.reserve(4)
    block[this.at] = first
    block[this.at + 1] = 2
    block[this.at + 2] = packetId >>> 8
    block[this.at + 3] = packetId
    this.at += 4
  }

  /** Hands everything to the socket. */
  flush(): void {
    for (const piece of this.#pieces) this.#socket.write(piece)
    this.#pieces.length = 0
    this.#pieceBytes = 0
    const block = this.block
    if (block === undefined || this.at === 0) return
    this.#socket.write(block.subarray(0, this.at))
    this.at = 0
    this.block = undefined
    // Nothing left in the socket: the kernel has its own copy. Otherwise the block is the socket's.
    if (this.#socket.unsentBytes === 0) this.#pool.give(block)
  }

  /** Sets aside what was written so far, until `flushSealed`. */
  seal(): void {
    this.#closeBlock()
    this.#sealed = this.#pieces
    this.#sealedBytes = this.#pieceBytes
    this.#pieces = []
    this.#pieceBytes = 0
  }

  flushSealed(): void {
    for (const piece of this.#sealed) this.#socket.write(piece)
    this.#sealed = []
    this.#sealedBytes = 0
  }

  /** Forgets what was not flushed. */
  discard(): void {
    if (this.block !== undefined) this.#pool.give(this.block)
    this.block = undefined
    this.at = 0
    this.#pieces = []
    this.#sealed = []
    this.#pieceBytes = 0
    this.#sealedBytes = 0
  }

  #closeBlock(): void {
    if (this.block === undefined || this.at === 0) return
    this.#pieces.push(this.block.subarray(0, this.at))
    this.#pieceBytes += this.at
    this.block = undefined
    this.at = 0
  }
}
