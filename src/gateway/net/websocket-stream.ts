// The bytes of a protocol within the binary frames of a WebSocket, as a stream. Where a frame ends
// says nothing about packets: one may be split over several, and one may hold many.
import { Duplex } from 'node:stream'
import type { WebSocket } from 'ws'

type Written = (error?: Error | null) => void

const NORMAL = 1000
const UNSUPPORTED_DATA = 1003

export class WebSocketStream extends Duplex {
  readonly #webSocket: WebSocket
  #isClosing = false

  constructor(webSocket: WebSocket) {
    super({ allowHalfOpen: false })
    this.#webSocket = webSocket
    webSocket.on('message', (data, isBinary) => this.#onMessage(data as Buffer, isBinary))
    // The library answers a broken frame by a close frame, which leaves first.
    webSocket.on('error', (error) => setImmediate(() => this.destroy(error)))
    // What came before is read first.
    webSocket.once('close', () => this.push(null))
  }

  /** Text has no place in MQTT (MQTT-6.0.0-1), nor in AMQP. */
  #onMessage(data: Buffer, isBinary: boolean): void {
    if (this.#isClosing) return
    if (!isBinary) {
      this.#isClosing = true
      this.#webSocket.close(UNSUPPORTED_DATA, 'only binary frames are taken')
      setImmediate(() => this.destroy(new Error('a text frame came over a WebSocket')))
    } else if (!this.push(data)) this.#webSocket.pause()
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
    destroyed(error)
  }
}
