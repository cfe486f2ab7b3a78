// The bytes of a protocol within the binary frames of a WebSocket, as a stream. Where a frame ends
// says nothing about packets: one may be split over several, and one may hold many.
import { Duplex } from 'node:stream'
import type { WebSocket } from 'ws'
import type { PartialFrames } from './partial-frames.ts'
import type { WireStream } from './wire-stream.ts'

type Written = (error?: Error | null) => void

const NORMAL = 1000
const UNSUPPORTED_DATA = 1003
/** Of a client's frame, without what a longer one has. */
const HEAD_BYTES = 6
/** Of a message that is not whole; more are counted with those of all connections. */
const UNTOLD_BYTES_MAX = 64 * 1024

export class WebSocketStream extends Duplex {
  readonly #webSocket: WebSocket
  readonly #partial: PartialFrames
  #isClosing = false
  /** That the library has, of messages that are not whole. */
  #heldBytes = 0
  #isTold = false
  #hasMessage = false

  constructor(webSocket: WebSocket, wire: WireStream, partial: PartialFrames) {
    super({ allowHalfOpen: false })
    this.#webSocket = webSocket
    this.#partial = partial
    wire.watcher = {
      before: (bytes) => {
        this.#heldBytes += bytes
        this.#hasMessage = false
      },
      after: (bytes) => {
        // What is left of a chunk that ended a message is no more than the chunk.
        if (this.#hasMessage) this.#heldBytes = Math.min(this.#heldBytes, bytes)
        this.#tell()
      },
    }
    webSocket.on('message', (data, isBinary) => this.#onMessage(data as Buffer, isBinary))
    // The library answers a broken frame by a close frame, which leaves first.
    webSocket.on('error', (error) => setImmediate(() => this.destroy(error)))
    // What came before is read first.
    webSocket.once('close', () => this.push(null))
  }

  /** Text has no place in MQTT (MQTT-6.0.0-1), nor in AMQP. */
  #onMessage(data: Buffer, isBinary: boolean): void {
    this.#hasMessage = true
    this.#heldBytes = Math.max(0, this.#heldBytes - data.length - HEAD_BYTES)
    if (this.#isClosing) return
    if (!isBinary) {
      this.#isClosing = true
      this.#webSocket.close(UNSUPPORTED_DATA, 'only binary frames are taken')
      setImmediate(() => this.destroy(new Error('a text frame came over a WebSocket')))
    } else if (!this.push(data)) this.#webSocket.pause()
  }

  #tell(): void {
    const bytes = this.#heldBytes > UNTOLD_BYTES_MAX ? this.#heldBytes : 0
    if (bytes === 0 && !this.#isTold) return
    this.#isTold = bytes > 0
    this.#partial.hold(this, bytes, () => {
      this.destroy(new Error('too much waits of messages that are not whole'))
    })
  }

  override _read(): void {
    if (this.#webSocket.isPaused) this.#webSocket.resume()
  }

  override _write(chunk: Buffer, _encoding: string, written: Written): void {
    this.#webSocket.send(chunk, written)
  }

  override _writev(chunks: readonly { readonly chunk: Buffer }[], written: Written): void {
    this.#webSocket.send(Buffer.concat(chunks.map(({ chunk }) => chunk)), written)
  }

  override _final(ended: Written): void {
    this.#webSocket.close(NORMAL)
    ended()
  }

  override _destroy(error: Error | null, destroyed: Written): void {
    this.#webSocket.terminate()
    this.#heldBytes = 0
    this.#tell()
    destroyed(error)
  }
}
