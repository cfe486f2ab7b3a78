// Bytes on their way out of one socket, written back to back into a block and handed over at the
// end of the event-loop turn: the write is the unit of cost, not the byte. Blocks are used again
// once the kernel has their bytes, by all sockets of the process, so an idle one holds none.

import { afterTurnEnd } from './turn-end.ts'

/** The part of a socket that is needed; any byte stream fits. */
export interface ByteSocket {
  /** Bytes written and not yet taken by the kernel. */
  readonly unsentBytes: number
  /** Bytes stay here for a while after each write, as their transport needs them. */
  readonly keepsBytes?: boolean
  /** The buffer is owned by the socket until it is sent. */
  write(bytes: Buffer): unknown
  end(): void
}

export const BLOCK_BYTES = 64 * 1024
/** Larger pieces are handed to the socket as they are instead of being copied. */
export const COPY_BYTES_MAX = 16 * 1024
const SPARE_BLOCKS_MAX = 64
const NO_BYTES: Buffer = Buffer.alloc(0)

/** Blocks between two uses. */
const spare: Buffer[] = []

export class Output {
  /** The outputs whose turn ends. */
  static #due: Output[] = []
  /** What `reserve` answered: its bytes from `at` on are free. */
  block = NO_BYTES
  at = 0
  readonly #socket: ByteSocket
  readonly #onTurnEnd: () => void
  #isDue = false
  #isClosed = false

  /** `onTurnEnd`: in place of `flush`, which it is to call. */
  constructor(socket: ByteSocket, onTurnEnd?: () => void) {
    this.#socket = socket
    this.#onTurnEnd = onTurnEnd ?? (() => this.flush())
  }

  /** Written here and not handed over yet. */
  get pendingBytes(): number {
    return this.at
  }

  /** Bytes that the peer has not taken: here and in the socket. */
  get unsentBytes(): number {
    return this.pendingBytes + this.#socket.unsentBytes
  }

  /** A block with room for `count` bytes, BLOCK_BYTES at most, from `at` on; then `commit`. */
  reserve(count: number): Buffer {
    if (this.block.length - this.at < count) {
      this.makeRoom()
      this.block = spare.pop() ?? Buffer.allocUnsafeSlow(BLOCK_BYTES)
    }
    return this.block
  }

  /** The reserved bytes are written up to `at`. */
  commit(at: number): void {
    this.at = at
    this.wantFlush()
  }

  /** A piece from elsewhere, which belongs to the output from now on. */
  push(piece: Buffer): void {
    if (this.#isClosed) return
    this.append(piece)
    this.wantFlush()
  }

  /** As `push`, where the end of the turn is seen to already. */
  append(piece: Buffer): void {
    if (piece.length > COPY_BYTES_MAX) {
      this.makeRoom()
      this.pass(piece)
      return
    }
    this.reserve(piece.length).set(piece, this.at)
    this.at += piece.length
  }

  /** Asks for a flush at the end of this turn. */
  wantFlush(): void {
    if (this.#isDue) return
    this.#isDue = true
    if (Output.#due.length === 0) afterTurnEnd(Output.#flushDue)
    Output.#due.push(this)
  }

  /** Hands everything to the socket. */
  flush(): void {
    const { block, at } = this
    if (at === 0) {
      // Its bytes went another way.
      this.letGo()
      return
    }
    this.block = NO_BYTES
    this.at = 0
    const bytes = block.subarray(0, at)
    // Behind others it waits long, and is not to keep a whole block.
    const isKept = this.#socket.keepsBytes || this.#socket.unsentBytes > 0
    const isCopied = isKept && at < BLOCK_BYTES / 2
    if (!this.#isClosed) this.#socket.write(isCopied ? Buffer.from(bytes) : bytes)
    // Nothing is left in the socket: the kernel has its own copy.
    if (isCopied || this.#isClosed || this.#socket.unsentBytes === 0) give(block)
  }

  /** Sends what is written, then closes the socket. */
  end(): void {
    this.flush()
    this.close()
    this.#socket.end()
  }

  /** Nothing more reaches the socket. */
  close(): void {
    this.#isClosed = true
    this.discard()
  }

  /** Forgets what was not handed over. */
  discard(): void {
    this.letGo()
  }

  /** The block is others' to use. */
  protected letGo(): void {
    give(this.block)
    this.block = NO_BYTES
    this.at = 0
  }

  /** The block is too full for the next piece. */
  protected makeRoom(): void {
    this.flush()
  }

  /** A large piece, behind what is written. */
  protected pass(piece: Buffer): void {
    this.#socket.write(piece)
  }

  static readonly #flushDue = (): void => {
    const due = Output.#due
    Output.#due = []
    for (const output of due) {
      output.#isDue = false
      output.#onTurnEnd()
    }
  }
}

function give(block: Buffer): void {
  if (block.length > 0 && spare.length < SPARE_BLOCKS_MAX) spare.push(block)
}
