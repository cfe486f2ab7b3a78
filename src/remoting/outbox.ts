// One write per connection and event-loop turn: the socket write is the unit of cost, not the byte.
// Frames gather until the turn ends; what the socket has not taken is counted, so that its owner
// can stop producing.

/** The part of a socket that the kit uses; any byte stream fits. */
export interface ByteSocket {
  readonly unsentBytes: number
  /**
   * The buffer is owned by the socket until it is sent. False: the kernel takes no more for now.
   */
  write(bytes: Buffer): boolean
  end(bytes?: Buffer): void
  destroy(): void
}

/** Pieces from this size on are written as they are; smaller ones are gathered by copy. */
const COPY_BYTES_MAX = 16 * 1024

export class Outbox {
  readonly #socket: ByteSocket
  #pieces: Buffer[] = []
  #bytes = 0
  #scheduled = false
  #closed = false
  readonly #onFlushed: (() => void) | undefined

  /**
   * `onFlushed`: a turn's frames were handed to the socket, which may have taken them all at once.
   */
  constructor(socket: ByteSocket, onFlushed?: () => void) {
    this.#socket = socket
    this.#onFlushed = onFlushed
  }

  /** Bytes given and not yet taken by the kernel. */
  get unsentBytes(): number {
    return this.#bytes + this.#socket.unsentBytes
  }

  /**
   * Sent at the end of this turn of the event loop, in order. The buffer is owned by the outbox.
   */
  push(piece: Buffer): void {
    if (this.#closed) return
    this.#pieces.push(piece)
    this.#bytes += piece.length
    if (!this.#scheduled) {
      this.#scheduled = true
      setImmediate(this.#flushScheduled)
    }
  }

  /** Sends the gathered bytes now. */
  flush(): void {
    if (this.#pieces.length === 0 || this.#closed) return
    const pieces = this.#pieces
    this.#pieces = []
    this.#bytes = 0
    if (pieces.length === 1) {
      this.#socket.write(pieces[0]!)
      return
    }
    let from = 0
    for (let i = 0; i <= pieces.length; i++) {
      const isLarge = i < pieces.length && pieces[i]!.length > COPY_BYTES_MAX
      if (i < pieces.length && !isLarge) continue
      if (i - from === 1) this.#socket.write(pieces[from]!)
      else if (i > from) this.#socket.write(Buffer.concat(pieces.slice(from, i)))
      if (isLarge) this.#socket.write(pieces[i]!)
      from = i + 1
    }
  }

  /** Sends the gathered bytes, then closes the socket. */
  end(): void {
    this.flush()
    this.#closed = true
    this.#socket.end()
  }

  /** Forgets the gathered bytes: the socket is gone. */
  close(): void {
    this.#closed = true
    this.#pieces = []
    this.#bytes = 0
  }

  readonly #flushScheduled = (): void => {
    this.#scheduled = false
    this.flush()
    this.#onFlushed?.()
  }
}
