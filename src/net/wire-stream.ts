// A socket as a stream for a library: its owner reads it and passes the bytes on, what the library
// writes goes to the socket, and each ends with the other.
import { Duplex } from 'node:stream'

type Written = (error?: Error | null) => void

export class WireStream extends Duplex {
  readonly #wire: Duplex
  /** Told of each chunk before the library has it, and after. */
  watcher: { before(bytes: number): void; after(bytes: number): void } | undefined

  constructor(wire: Duplex) {
    super()
    this.#wire = wire
    wire.once('close', () => this.destroy())
  }

  /** Bytes that came; the buffer stays the caller's. */
  feed(chunk: Buffer): void {
    this.watcher?.before(chunk.length)
    if (!this.push(Buffer.from(chunk))) this.#wire.pause()
    this.watcher?.after(chunk.length)
  }

  override _read(): void {
    this.#wire.resume()
  }

  override _write(chunk: Buffer, _encoding: string, written: Written): void {
    this.#wire.write(chunk, written)
  }

  override _writev(chunks: readonly { readonly chunk: Buffer }[], written: Written): void {
    this.#wire.cork()
    const last = chunks.length - 1
    for (const [at, { chunk }] of chunks.entries()) {
      if (at < last) this.#wire.write(chunk)
      else this.#wire.write(chunk, written)
    }
    this.#wire.uncork()
  }

  override _final(ended: Written): void {
    this.#wire.end(ended)
  }

  override _destroy(error: Error | null, destroyed: Written): void {
    this.#wire.destroy()
    destroyed(error)
  }
}
