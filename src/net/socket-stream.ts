// A GatewaySocket as one of node's streams, for a protocol that node or a library speaks.
import { Duplex } from 'node:stream'
import type { GatewaySocket } from '../port/gateway.ts'

type Done = (error?: Error | null) => void

export class SocketStream extends Duplex {
  readonly #socket: GatewaySocket
  /** Of the write that waits for the peer to take bytes. */
  #written: Done | undefined

  constructor(socket: GatewaySocket) {
    super()
    this.#socket = socket
    socket.onData((chunk) => {
      // A copy: chunks come in a buffer that all sockets share.
      if (!this.push(Buffer.from(chunk))) socket.pause()
    })
    socket.onDrain(() => this.#drained())
    socket.onClose((error) => {
      this.#drained()
      this.push(null)
      this.destroy(error)
    })
  }

  override _read(): void {
    this.#socket.resume()
  }

  override _write(bytes: Buffer, _encoding: BufferEncoding, done: Done): void {
    if (this.#socket.write(bytes)) done()
    else this.#written = done
  }

  override _final(done: Done): void {
    this.#socket.end()
    done()
  }

  override _destroy(error: Error | null, done: Done): void {
    this.#drained()
    this.#socket.destroy()
    done(error)
  }

  #drained(): void {
    const written = this.#written
    this.#written = undefined
    written?.()
  }
}
